"""Token F1, with the precision and recall it is made of."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ..normalise import align
from ..questions import Question
from .definition import Metric, best

_ALL_OR_NOTHING = ("yes", "no", "noanswer")


class Overlap(NamedTuple):
    """Bag-of-tokens overlap of a prediction and a gold answer."""

    precision: float
    recall: float
    f1: float


def overlap(prediction: str, gold: str) -> Overlap:
    """Returns the overlap.

    "yes", "no" and "noanswer" on either side must match exactly, as in HotpotQA's script, and so must a gold answer of
    articles or punctuation alone.
    """
    pair = align(prediction, gold)
    strict = pair.whole or pair.gold in _ALL_OR_NOTHING or pair.prediction in _ALL_OR_NOTHING
    if strict and pair.prediction != pair.gold:
        return Overlap(0.0, 0.0, 0.0)
    predicted, wanted = pair.prediction.split(), pair.gold.split()
    same = (Counter(predicted) & Counter(wanted)).total()
    if not same:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = same / len(predicted), same / len(wanted)
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall))


def f1(prediction: str, question: Question) -> float:
    """Returns the best F1 over the gold answers, in [0, 1]."""
    return best(prediction, question, lambda text, gold: overlap(text, gold).f1)


def precision(prediction: str, question: Question) -> float:
    """Returns the best precision over the gold answers, in [0, 1]."""
    return best(prediction, question, lambda text, gold: overlap(text, gold).precision)


def recall(prediction: str, question: Question) -> float:
    """Returns the best recall over the gold answers, in [0, 1]."""
    return best(prediction, question, lambda text, gold: overlap(text, gold).recall)


_SOURCE = "SQuAD v1.1 evaluation script (arXiv 1606.05250), yes/no/noanswer as in HotpotQA's (arXiv 1809.09600)"

METRICS = (
    Metric("f1", "Harmonic mean of token precision and recall.", _SOURCE, binary=False, score=f1),
    Metric("precision", "Share of predicted tokens in the gold answer.", _SOURCE, binary=False, score=precision),
    Metric("recall", "Share of the gold answer's tokens predicted.", _SOURCE, binary=False, score=recall),
)
