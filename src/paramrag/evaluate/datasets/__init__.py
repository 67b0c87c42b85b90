"""Question files -> questions.

The first entry decides the format, by its keys; every other entry must have them too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...errors import EvaluationError, did_you_mean
from ..labels import POLAR_LABELS, TASKS, allowed_labels, label_of
from ..questions import Question
from . import beir, benchmark, flashrag, kilt, prag
from .format import Format
from .record import Record, read_records

FORMATS: tuple[Format, ...] = (benchmark.FORMAT, flashrag.FORMAT, kilt.FORMAT, prag.FORMAT, beir.FORMAT)
"""The formats, most specific keys first."""


def load_questions(path: str | Path, limit: int | None = None, task: str | None = None) -> list[Question]:
    """Returns the questions of a file, in its order; only the first `limit` where that is given.

    Reads ParamRAG's own JSONL, FlashRAG, KILT, PRAG's augmented JSON, and BEIR (its `queries.jsonl` or its folder).
    Where every answer is yes, no or maybe, the task is `yes_no`.

    Args:
        path: the file, or BEIR's folder.
        limit: how many to read.
        task: how to ask, instead of what the file says: `choices` shows the choices that a file has beside answers.

    Raises:
        EvaluationError: the file cannot be read, its format is unknown, or an entry is not valid; it names the place.
    """
    if limit is not None and limit < 1:
        raise EvaluationError(f"limit is {limit}, expected at least 1; leave it out to read all questions")
    if task is not None and task not in TASKS:
        raise EvaluationError(f"unknown task {task!r}: {did_you_mean(task, TASKS)}")
    path = Path(path)
    if path.is_dir():
        path = path / "queries.jsonl"
    questions: list[Question] = []
    places: dict[str, str] = {}
    format_: Format | None = None
    for record in read_records(path):
        if format_ is None:
            format_ = _detect(record)
            parse = format_.open(path)
        elif not format_.describes(record):
            missing = next(key for key in format_.keys if key not in record.value)
            raise record.error(
                f"{missing!r} is missing, though the file is in the {format_.name} format",
                f"every entry needs {', '.join(format_.keys)}",
            )
        question = parse(record)
        if question is None:
            continue
        if question.id in places:
            raise record.error(f"id {question.id!r} was already used at {places[question.id]}", "ids must be unique")
        places[question.id] = record.where
        if task:
            question = replace(question, task=task)
        if question.task not in TASKS:
            raise record.error(f"unknown task {question.task!r}", did_you_mean(question.task, TASKS))
        if question.task == "choices":
            question = replace(question, choices=_choices(record, question))
        questions.append(question)
        if len(questions) == limit:
            break
    if not questions:
        raise EvaluationError(f"{path} holds no questions; expected at least one entry")
    return _labelled(questions)


def _labelled(questions: list[Question]) -> list[Question]:
    """Gives questions that are answered by a label the labels of the file."""
    answers = [answer for question in questions for answer in question.answers]
    if (
        all(question.task == "qa" for question in questions)
        and {label_of(answer) for answer in answers} <= POLAR_LABELS
    ):
        questions = [replace(question, task="yes_no") for question in questions]
    labels = {task: allowed_labels(task, answers) for task in {question.task for question in questions}}
    return [replace(question, choices=labels[question.task] or question.choices) for question in questions]


def _choices(record: Record, question: Question) -> tuple[str, ...]:
    values = record.value.get("choices")
    if not isinstance(values, list) or len(values) < 2:
        raise record.error("the task is 'choices', but 'choices' is not a list of two or more", "give the choices")
    choices = record.answers(values, "choices")
    if not set(question.answers) <= set(choices):
        raise record.error(f"the answers {list(question.answers)} are not among the choices", "correct this entry")
    return choices


def _detect(record: Record) -> Format:
    for candidate in FORMATS:
        if candidate.describes(record):
            return candidate
    known = "; ".join(f"{entry.name}: {', '.join(entry.keys)}" for entry in FORMATS)
    keys = {key for entry in FORMATS for key in entry.keys}
    hints = [f"{key!r}: {did_you_mean(key, keys)}" for key in record.value if key not in keys]
    nearest = next((hint.split("; ")[1] for hint in hints if "did you mean" in hint), "rename the fields")
    raise record.error(
        f"unknown question format with the fields {', '.join(map(repr, sorted(record.value))) or 'none'}, "
        f"expected one of {known}",
        nearest,
    )


__all__ = ["FORMATS", "load_questions"]
