"""The closed answer sets of the benchmarks: fact verification labels and yes/no/maybe."""

from __future__ import annotations

SUPPORTS = "supports"
REFUTES = "refutes"
NOT_ENOUGH_INFO = "not enough info"
YES = "yes"
NO = "no"
MAYBE = "maybe"

FACT_LABELS = frozenset({SUPPORTS, REFUTES, NOT_ENOUGH_INFO})
"""Labels of FEVER (Thorne et al. 2018, arXiv 1803.05355), lower case."""
POLAR_LABELS = frozenset({YES, NO, MAYBE})
"""Answers of StrategyQA (yes, no) and PubMedQA (yes, no, maybe), lower case."""


def label_of(answer: str) -> str | None:
    """Returns the label that a gold answer is, or None if it is free text."""
    label = " ".join(answer.replace("_", " ").lower().split()).strip(".")
    return label if label in FACT_LABELS | POLAR_LABELS else None
