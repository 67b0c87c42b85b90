"""PRAG's augmented data: `{"question", "answer", "passages": ["..."], "augment": [...]}` (github.com/oneal2000/PRAG).

A JSON array per file. `answer` is a string or a list of aliases; `passages` are BM25 hits as plain text, none judged,
except `golden_passages` where the set has them. `augment` (rewrites and QA per passage) is kept as metadata.
"""

from __future__ import annotations

from ..questions import JudgedPassage, Question
from .format import Format, task_of
from .record import Record


def parse(record: Record) -> Question:
    """Returns the question of one entry."""
    text = record.text("question")
    answers = record.answers(record.value["answer"], "answer")
    passages = []
    for key, gold, role in (("golden_passages", True, ""), ("passages", False, "retrieved")):
        values = record.value.get(key, [])
        if not isinstance(values, list):
            raise record.error(f"{key!r} is not a list", "write it as a list of texts")
        passages += [JudgedPassage(record.passage(value, key), gold, role) for value in values]
    metadata = record.rest("qid", "test_id", "id", "question", "answer", "passages", "golden_passages")
    return Question(
        record.identity("qid", "test_id", "id"), text, answers, tuple(passages), task_of(text, answers), metadata
    )


FORMAT = Format("PRAG", ("question", "answer"), lambda path: parse)
