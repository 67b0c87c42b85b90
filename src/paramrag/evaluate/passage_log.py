"""`passages.jsonl`: the texts of all passages that a run's samples name, each once, so that a run can be read alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from ..errors import EvaluationError
from ..types import Passage


class PassageLog:
    """Appends passages to a file. A context manager."""

    def __init__(self, path: Path) -> None:
        path.touch()
        found, length = _read(path)
        self._held = set(found)
        self._file = path.open("r+b")
        self._file.truncate(length)
        self._file.seek(length)

    def add(self, passages: Iterable[Passage]) -> None:
        """Writes the passages that the file does not hold yet."""
        for passage in passages:
            if passage.id in self._held:
                continue
            self._held.add(passage.id)
            line = json.dumps({"id": passage.id, "title": passage.title, "text": passage.text}, ensure_ascii=False)
            self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()

    def __enter__(self) -> PassageLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_passages(run: str | Path) -> dict[str, Passage]:
    """Returns the passages of a run by id; none for a run that was written without their texts.

    Raises:
        EvaluationError: a line of passages.jsonl is not a passage.
    """
    path = Path(run) / "passages.jsonl"
    return _read(path)[0] if path.exists() else {}


def _read(path: Path) -> tuple[dict[str, Passage], int]:
    """The passages of a log, and the length in bytes of its whole lines; a line torn by a kill is left out."""
    found: dict[str, Passage] = {}
    length = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                value = json.loads(line)
                found[value["id"]] = Passage(value["text"], value["title"])
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(
                    f"{path}:{number}: not a passage ({type(error).__name__}: {error}); "
                    "the file was changed by something else: remove this line"
                ) from error
            length += len(line)
    return found, length
