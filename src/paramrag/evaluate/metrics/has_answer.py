"""HasAnswer: does the prediction hold a gold answer, whole words at a time?"""

from __future__ import annotations

from ..normalise import align, has_tokens
from ..questions import Question
from .definition import Metric, best

_POLAR = ("yes", "no")


def holds(prediction: str, gold: str) -> bool:
    """Returns whether the gold answer's tokens stand in the prediction one after the other.

    A gold "yes" or "no" must be the first of these two words that the prediction says. A gold answer of articles or
    punctuation alone must be the whole prediction.
    """
    pair = align(prediction, gold)
    if not pair.gold:
        return False
    if pair.whole:
        return pair.prediction == pair.gold
    if pair.gold in _POLAR:
        return next((token for token in pair.prediction.split() if token in _POLAR), None) == pair.gold
    return has_tokens(pair.prediction, pair.gold)


def score(prediction: str, question: Question) -> float:
    """Returns 1 if any gold answer is held, else 0."""
    return best(prediction, question, holds)


METRICS = (
    Metric(
        "has_answer",
        "A gold answer is a token-boundary subsequence of the normalised prediction.",
        "answer presence of DPR (arXiv 2004.04906), on SQuAD-normalised tokens; "
        "rewards long answers, so read it beside answer_length",
        binary=True,
        score=score,
    ),
)
