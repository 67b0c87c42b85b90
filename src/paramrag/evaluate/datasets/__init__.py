"""Question files -> questions.

The first entry decides the format, by its keys; every other entry must have them too.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import EvaluationError, did_you_mean
from ..questions import Question
from . import beir, benchmark, flashrag, kilt, prag
from .format import Format
from .record import Record, read_records

FORMATS: tuple[Format, ...] = (benchmark.FORMAT, flashrag.FORMAT, kilt.FORMAT, prag.FORMAT, beir.FORMAT)
"""The formats, most specific keys first."""


def load_questions(path: str | Path, limit: int | None = None) -> list[Question]:
    """Returns the questions of a file, in its order; only the first `limit` where that is given.

    Reads ParamRAG's own JSONL, FlashRAG, KILT, PRAG's augmented JSON, and BEIR (its `queries.jsonl` or its folder).

    Raises:
        EvaluationError: the file cannot be read, its format is unknown, or an entry is not valid; it names the place.
    """
    if limit is not None and limit < 1:
        raise EvaluationError(f"limit is {limit}, expected at least 1; leave it out to read all questions")
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
        questions.append(question)
        if len(questions) == limit:
            break
    if not questions:
        raise EvaluationError(f"{path} holds no questions; expected at least one entry")
    return questions


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
