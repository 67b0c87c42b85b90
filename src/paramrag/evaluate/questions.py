"""A question of a benchmark, with its gold answers and judged passages. Knows nothing of files or of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..types import Passage


class JudgedPassage(NamedTuple):
    """A passage that comes with a question."""

    passage: Passage
    """The passage; compared with hits by its id, which is a content hash."""
    gold: bool
    """Whether it really holds what the question asks."""
    role: str = ""
    """What the data set calls it: `subject_page`, `counterfactual`, `noise`, `retrieved`; empty if nothing."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a benchmark."""

    id: str
    """Unique within its file, stable between runs."""
    question: str
    """The question, claim, or `subject [SEP] relation`, as it is asked."""
    answers: tuple[str, ...]
    """Gold answers, any of which is right; empty only where a set judges retrieval alone (BEIR)."""
    passages: tuple[JudgedPassage, ...] = ()
    """The passages that came with it, gold and others."""
    task: str = "qa"
    """`qa`, `yes_no`, `choices`, `fact_verification`, `slot_filling`, `conflict`, `new_knowledge`, `retrieval`."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Everything else the file says. Conflict sets put tuples here: `counterfactual`, what the passages that
    contradict the other source say, and `original`, what they contradict."""
    choices: tuple[str, ...] = ()
    """The only answers allowed; they are named in the prompt. Empty for free text."""

    @property
    def gold_ids(self) -> frozenset[str]:
        """Ids of the gold passages."""
        return frozenset(judged.passage.id for judged in self.passages if judged.gold)

    def gold_of(self, passage: Passage) -> str | None:
        """Returns the id of the gold passage that a retrieved passage is, or was cut from; None if it is not gold."""
        gold = [judged.passage for judged in self.passages if judged.gold]
        return next(
            (entry.id for entry in gold if entry.id == passage.id),
            next((entry.id for entry in gold if entry.title == passage.title and passage.text in entry.text), None),
        )
