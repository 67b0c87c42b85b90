"""FlashRAG samples: `{"id", "question", "golden_answers", "choices", "metadata"}` (arXiv 2405.13576).

Golden answers may be indices into `choices`; then the choices are part of the question.
"""

from __future__ import annotations

from ..questions import Question
from .format import Format, task_of
from .record import Record


def parse(record: Record) -> Question:
    """Returns the question of one entry."""
    text = record.text("question")
    golden, choices = record.value["golden_answers"], record.value.get("choices")
    task = ""
    if isinstance(choices, list) and isinstance(golden, list) and all(type(index) is int for index in golden):
        outside = [index for index in golden if not 0 <= index < len(choices)]
        if outside:
            raise record.error(f"golden answer {outside[0]} is not an index of {len(choices)} choices", "correct it")
        golden = [choices[index] for index in golden]
        task = "choices"
    answers = record.answers(golden, "golden_answers")
    metadata = record.rest("id", "question", "golden_answers", "metadata")
    inner = record.value.get("metadata")
    if isinstance(inner, dict):
        metadata = {**inner, **metadata}
    return Question(record.identity("id"), text, answers, (), task or task_of(text, answers), metadata)


FORMAT = Format("FlashRAG", ("question", "golden_answers"), lambda path: parse)
