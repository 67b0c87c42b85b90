"""How long the answers are: the number to read beside every metric that rewards saying more."""

from __future__ import annotations

from ..questions import Question
from .definition import Metric


def score(prediction: str, question: Question) -> float:
    """Returns the number of words, apart by white space."""
    return float(len(prediction.split()))


METRICS = (Metric("answer_length", "Words in the prediction.", "plain count; tokens are in the samples", False, score),)
