"""What a question format is: the keys that tell it apart, and how an entry becomes a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..labels import FACT_LABELS, label_of
from ..questions import Question
from .record import Record

Parse = Callable[[Record], Question | None]
"""Entry -> question, or None for an entry that asks nothing here (a BEIR query without judgements)."""


@dataclass(frozen=True, slots=True)
class Format:
    """A question format."""

    name: str
    """As shown in messages."""
    keys: tuple[str, ...]
    """Keys that every entry has."""
    open: Callable[[Path], Parse]
    """Called once per file; reads what stands beside it, if the format has such files."""

    def describes(self, record: Record) -> bool:
        """Returns whether the entry has this format's keys."""
        return all(key in record.value for key in self.keys)


def task_of(question: str, answers: Sequence[str]) -> str:
    """Returns the task that an entry without one must be, from its form."""
    if "[SEP]" in question:
        return "slot_filling"
    if answers and all(label_of(answer) in FACT_LABELS for answer in answers):
        return "fact_verification"
    return "qa"
