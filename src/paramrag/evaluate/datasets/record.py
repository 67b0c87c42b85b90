"""One entry of a question file, with where it stands, so that every complaint can name the place."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import EvaluationError
from ...types import Passage, content_hash


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object of a file."""

    value: dict[str, Any]
    """What it holds."""
    where: str
    """`path:line` in a JSONL file, `path, entry n` in a JSON array."""

    def error(self, problem: str, remedy: str) -> EvaluationError:
        """Returns the error that names this place."""
        return EvaluationError(f"{self.where}: {problem}; {remedy}")

    def text(self, key: str) -> str:
        """Returns a string that must not be blank."""
        value = self.value.get(key)
        if not isinstance(value, str):
            raise self.error(f"{key!r} is {_kind(value)}, expected a string", f"write {key!r} as text")
        if not value.strip():
            raise self.error(f"{key!r} is empty", f"give its {key}, or remove this entry")
        return value

    def identity(self, *keys: str) -> str:
        """Returns the first id found under these keys; a hash of the question where the file gives none."""
        for key in keys:
            value = self.value.get(key)
            if isinstance(value, bool) or not isinstance(value, str | int | None):
                raise self.error(f"{key!r} is {_kind(value)}, expected a string or a number", "give a plain id")
            if value is not None and str(value).strip():
                return str(value)
        return content_hash(self.text("question"), length=12)

    def answers(self, values: object, key: str) -> tuple[str, ...]:
        """Returns gold answers: strings or numbers, at least one, none blank, without repeats."""
        found = values if isinstance(values, list) else [values]
        if not found or values is None:
            raise self.error(f"no answers under {key!r}", "give at least one gold answer, or remove this entry")
        for value in found:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise self.error(f"an answer under {key!r} is {_kind(value)}, expected text", "write answers as text")
            if not str(value).strip():
                raise self.error(f"an answer under {key!r} is empty", "remove it, or give the gold answer")
        return tuple(dict.fromkeys(str(value) for value in found))

    def passage(self, value: object, key: str) -> Passage:
        """Returns a passage given as an object with `text` and perhaps `title`, or as plain text."""
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict) or not isinstance(value.get("text"), str) or not value["text"].strip():
            raise self.error(f"an entry of {key!r} has no text", 'write passages as {"title": ..., "text": ...}')
        title = value.get("title") or ""
        if not isinstance(title, str):
            raise self.error(f"a title in {key!r} is {_kind(title)}, expected a string", "write titles as text")
        return Passage(text=value["text"], title=title)

    def rest(self, *used: str) -> dict[str, Any]:
        """Returns everything but the keys used, as metadata; a near miss of a key that is absent is refused."""
        absent = [key for key in used if key not in self.value]
        rest = {key: value for key, value in self.value.items() if key not in used}
        for key in rest:
            close = difflib.get_close_matches(key, absent, n=1, cutoff=0.85)
            if close:
                raise self.error(f"unknown field {key!r}", f"did you mean {close[0]!r}?")
        return rest


def read_records(path: Path) -> Iterator[Record]:
    """Yields the objects of a JSONL file or of a JSON array; blank lines are skipped.

    Raises:
        EvaluationError: the file is missing, not UTF-8, not JSON, or an entry is not an object.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            first = next((line for line in lines if line.strip()), "")
            if first.lstrip().startswith("["):
                lines.seek(0)
                yield from _array(path, lines.read())
                return
            lines.seek(0)
            yield from _lines(path, lines)
    except FileNotFoundError as error:
        raise EvaluationError(
            f"question file {str(path)!r} not found; give the path of a JSONL or JSON file"
        ) from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it") from error
    except OSError as error:
        raise EvaluationError(
            f"question file {str(path)!r} cannot be read: {error.strerror}; check the path"
        ) from error


def _lines(path: Path, lines: Iterable[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise EvaluationError(f"{where}: not valid JSON ({error.msg}); expected one object per line") from error
        yield _record(value, where)


def _array(path: Path, text: str) -> Iterator[Record]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise EvaluationError(f"{path}:{error.lineno}: not valid JSON ({error.msg}); expected an array") from error
    for number, value in enumerate(values, 1):
        yield _record(value, f"{path}, entry {number}")


def _record(value: object, where: str) -> Record:
    if not isinstance(value, dict):
        raise EvaluationError(f"{where}: {_kind(value)}, expected an object with a question and its answers")
    return Record(value, where)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "missing"}
    return names.get(type(value), "a number")
