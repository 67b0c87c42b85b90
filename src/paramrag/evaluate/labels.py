"""The closed answer sets of the benchmarks: fact verification labels and yes/no/maybe."""

from __future__ import annotations

from collections.abc import Iterable

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


TASKS = ("qa", "yes_no", "choices", "fact_verification", "slot_filling", "conflict", "new_knowledge", "retrieval")
"""What a question may be; decides how it is put and which metrics are taken."""


def allowed_labels(task: str, answers: Iterable[str]) -> tuple[str, ...]:
    """Returns the labels that a prompt of this task names, none if it is not about labels.

    Two always; the third, which not every data set has, only where it is among the answers.
    """
    found = {label_of(answer) for answer in answers}
    if task == "fact_verification":
        return ("SUPPORTS", "REFUTES", *(["NOT ENOUGH INFO"] if NOT_ENOUGH_INFO in found else []))
    if task == "yes_no":
        return ("yes", "no", *(["maybe"] if MAYBE in found else []))
    return ()


def label_of(answer: str) -> str | None:
    """Returns the label that a gold answer is, or None if it is free text."""
    label = " ".join(answer.replace("_", " ").lower().split()).strip(".")
    return label if label in FACT_LABELS | POLAR_LABELS else None
