"""The metrics, by name. One file each; a name prints and parses back, in the CLI, in files and in reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from ...errors import EvaluationError, did_you_mean
from ..questions import Question
from . import answer_length, conflict, contains, em, f1, has_answer, judge, label_accuracy, prag_compat
from .definition import UNDEFINED, Metric

_FILES = (has_answer, contains, em, f1, prag_compat, label_accuracy, answer_length, conflict)

METRICS: Mapping[str, Metric] = MappingProxyType({entry.name: entry for file in _FILES for entry in file.METRICS})
"""Every metric by its name."""


def metric(name: str | Metric) -> Metric:
    """Returns the metric with this name; a `Metric` of your own is returned as it is.

    Raises:
        EvaluationError: no metric has this name.
    """
    if isinstance(name, Metric):
        return name
    if name in judge.NAMES:
        raise EvaluationError(f"metric {name!r} needs a judge; name one, such as openai:MODEL, and it is taken")
    if name not in METRICS:
        raise EvaluationError(f"unknown metric {name!r}: {did_you_mean(name, METRICS)}")
    return METRICS[name]


def is_binary(name: str) -> bool:
    """Returns whether every score of the metric with this name is 0 or 1; False for a name that is not known."""
    return name in judge.NAMES or (name in METRICS and METRICS[name].binary)


def metrics_for(questions: Iterable[Question]) -> tuple[Metric, ...]:
    """Returns what to measure on these questions: four that always say something, and those their tasks need."""
    always: Sequence[str] = ("has_answer", "em", "f1", "answer_length")
    questions = list(questions)
    labels = ["label_accuracy"] if any(label_accuracy.score("", q) == 0 for q in questions) else []
    conflicts = ["ps", "po", "conflict_other", "mr"] if any(conflict.verdict("", q) for q in questions) else []
    return tuple(metric(name) for name in (*always, *labels, *conflicts))


__all__ = ["METRICS", "UNDEFINED", "Metric", "is_binary", "metric", "metrics_for"]
