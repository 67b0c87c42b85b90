"""Exact match."""

from __future__ import annotations

from ..normalise import align
from ..questions import Question
from .definition import Metric, best


def score(prediction: str, question: Question) -> float:
    """Returns 1 if the normalised prediction equals any normalised gold answer; an empty prediction scores 0."""
    return best(prediction, question, _equal)


def _equal(prediction: str, gold: str) -> bool:
    pair = align(prediction, gold)
    return bool(pair.gold) and pair.prediction == pair.gold


METRICS = (
    Metric(
        "em",
        "The normalised prediction equals a normalised gold answer.",
        "SQuAD v1.1 evaluation script (arXiv 1606.05250)",
        binary=True,
        score=score,
    ),
)
