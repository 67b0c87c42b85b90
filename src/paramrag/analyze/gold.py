"""Which passage answers a question: the one judged gold, or else one that says a gold answer."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluate.metrics.has_answer import holds
from ..evaluate.questions import Question
from ..types import Passage


def gold_index(question: Question, passages: Sequence[Passage]) -> int | None:
    """Returns the first passage that is gold by judgement, where the question has any; else that holds an answer."""
    if question.gold_ids:
        found = (at for at, passage in enumerate(passages) if question.gold_of(passage) is not None)
    else:
        found = (
            at
            for at, passage in enumerate(passages)
            if any(holds(f"{passage.title} {passage.text}", answer) for answer in question.answers)
        )
    return next(found, None)
