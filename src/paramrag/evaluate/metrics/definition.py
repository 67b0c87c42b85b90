"""What a metric is: a name, a definition, and a function of one prediction and one question."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..questions import Question

UNDEFINED = math.nan
"""Score where a metric says nothing about a question; left out of the mean, and counted as left out."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its definition; `score` computes it."""

    name: str
    """As written in the CLI, in files and in reports."""
    description: str
    """What it measures, in one sentence."""
    source: str
    """Where the definition comes from."""
    binary: bool
    """Whether every score is 0 or 1: decides interval (Wilson or bootstrap) and test (McNemar or none)."""
    score: Callable[[str, Question], float]
    """(prediction, question) -> score, or `UNDEFINED`."""

    def __str__(self) -> str:
        return self.name


def best(prediction: str, question: Question, score: Callable[[str, str], float]) -> float:
    """Returns the best score of the prediction against any gold answer; undefined where there is none."""
    return max((float(score(prediction, gold)) for gold in question.answers), default=UNDEFINED)
