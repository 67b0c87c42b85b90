"""Substring match as FlashRAG reports it, for comparison with published tables."""

from __future__ import annotations

from ..normalise import align
from ..questions import Question
from .definition import Metric, best


def score(prediction: str, question: Question) -> float:
    """Returns 1 if any gold answer is a substring: gold "no" is found in "know", "1" in "1999"."""
    return best(prediction, question, _substring)


def _substring(prediction: str, gold: str) -> bool:
    pair = align(prediction, gold)
    if pair.whole:
        return bool(pair.gold) and pair.prediction == pair.gold
    return pair.gold in pair.prediction


METRICS = (
    Metric(
        "contains",
        "A gold answer is a substring of the normalised prediction, word boundaries or not.",
        "`acc` of FlashRAG (arXiv 2405.13576)",
        binary=True,
        score=score,
    ),
)
