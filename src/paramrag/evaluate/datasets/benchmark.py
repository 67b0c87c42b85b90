"""ParamRAG's own question files: `{"id", "question", "answers", "passages": [{"title", "text", "gold", "role"}], ...}`.

`id`, `passages`, `task` may be left out; all further fields become metadata. `choices` are named in the prompt where
the task is `choices`, and are metadata elsewhere.
"""

from __future__ import annotations

from typing import Any

from ..questions import JudgedPassage, Question
from .format import Format, task_of
from .record import Record

_EVIDENCE_ROLE = "subject_page"


def parse(record: Record) -> Question:
    """Returns the question of one entry."""
    text = record.text("question")
    answers = record.answers(record.value["answers"], "answers")
    metadata = record.rest("id", "question", "answers", "passages", "task", "conflict_answer")
    passages = _passages(record)
    if "conflict_answer" in record.value:
        metadata |= _conflict(record, answers, passages)
    task = record.text("task") if "task" in record.value else task_of(text, answers)
    return Question(record.identity("id"), text, answers, passages, task, metadata)


def _passages(record: Record) -> tuple[JudgedPassage, ...]:
    values = record.value.get("passages", [])
    if not isinstance(values, list):
        raise record.error("'passages' is not a list", 'write "passages": [{"title": ..., "text": ..., "gold": true}]')
    judged = []
    for value in values:
        passage = record.passage(value, "passages")
        fields = value if isinstance(value, dict) else {}
        gold, role = fields.get("gold", False), fields.get("role") or ""
        if not isinstance(gold, bool) or not isinstance(role, str):
            raise record.error(
                f"a passage has gold {gold!r} and role {role!r}, expected true or false and a string",
                "correct this entry",
            )
        judged.append(JudgedPassage(passage, gold, role))
    # PopQA marks the object's page gold too, though only the subject's page answers the question.
    if any(entry.role == _EVIDENCE_ROLE for entry in judged):
        judged = [entry._replace(gold=entry.role == _EVIDENCE_ROLE) for entry in judged]
    return tuple(judged)


def _conflict(record: Record, answers: tuple[str, ...], passages: tuple[JudgedPassage, ...]) -> dict[str, Any]:
    """The two sides of a conflict set, which differ in who is right.

    With counterfactual passages (RGB) those claim the conflict answer, against the gold ones. Without (CoConflictQA)
    the passages hold the gold ones, against what a model says closed-book.
    """
    conflicting = record.answers(record.value["conflict_answer"], "conflict_answer")
    if any(entry.role == "counterfactual" for entry in passages):
        return {"counterfactual": conflicting, "original": answers}
    return {"counterfactual": answers, "original": conflicting}


FORMAT = Format("ParamRAG", ("question", "answers"), lambda path: parse)
