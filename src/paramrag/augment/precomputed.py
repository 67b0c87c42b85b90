"""Training items from a file: JSONL of our own, or the JSON that PRAG's augmentation writes.

    {"passage_id" | "title" | "text", "question", "answer", "kind"?}          one item a line
    [{"passages": [...], "augment": [{"passage", "<model>_rewrite", "<model>_qa": [{"question", "answer"}]}]}]

A line belongs to a passage by its id, by a title that only one passage has, or by its text. Items are validated as
all others are.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AugmentError, ConfigError
from ..types import Passage, Progress, TrainingItem, content_hash
from .report import AugmentReport
from .rewriting import question as rewrite_question
from .validation import KINDS, LONG_KINDS, validate
from .words import forms


@dataclass(frozen=True, slots=True)
class _Line:
    """One item of the file, not yet given to a passage."""

    where: str
    key: tuple[str, str]
    """("passage_id" | "title" | "text", value)."""
    question: str
    answer: str
    kind: str


class Precomputed:
    """Hands out the items of a file.

    Example:
        items = Precomputed("items.jsonl")(passages)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        questions: int | None = None,
        rewrites: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Reads the file.

        Args:
            path: JSONL of items, or PRAG's JSON.
            questions: most question items per passage; None for all.
            rewrites: most rewrites per passage; None for all.
            progress: called as passages are done.

        Raises:
            ConfigError: there is no such file.
            AugmentError: a line is not an item; the message names file and line.
        """
        self._path, self.questions, self.rewrites, self._progress = Path(path), questions, rewrites, progress
        if not self._path.is_file():
            raise ConfigError(f"items file {str(path)!r} not found; expected a JSONL file of training items")
        try:
            text = self._path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise AugmentError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
        self._lines: dict[tuple[str, str], list[_Line]] = defaultdict(list)
        for line in _prag(self._path, text) if text.lstrip().startswith("[") else _jsonl(self._path, text):
            self._lines[line.key].append(line)
        self.id = f"items {content_hash(text)} questions={questions} rewrites={rewrites}"
        self.report = AugmentReport()

    def __call__(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        """Returns the valid items of each passage, in the order of the file; none for a passage it does not know.

        Raises:
            AugmentError: lines name their passage by a title that several of these passages have.
        """
        started = time.perf_counter()
        titled: dict[str, set[str]] = defaultdict(set)
        for passage in passages:
            titled[passage.title].add(passage.id)
        made = []
        for done, passage in enumerate(passages, 1):
            made.append(self._items(passage, titled))
            if self._progress:
                self._progress("augment", done, len(passages))
        self.report.passages += len(passages)
        self.report.asked += sum(len(items) for items in made)
        self.report.kept.update(item.kind for items in made for item in items)
        self.report.seconds += time.perf_counter() - started
        return made

    def _items(self, passage: Passage, titled: dict[str, set[str]]) -> list[TrainingItem]:
        by_title = self._lines.get(("title", passage.title), [])
        if by_title and len(titled[passage.title]) > 1:
            raise AugmentError(
                f"{by_title[0].where}: the title {passage.title!r} belongs to {len(titled[passage.title])} passages; "
                "expected a title that only one has: name the passage by `passage_id` or `text`"
            )
        lines = [
            *self._lines.get(("passage_id", passage.id), []),
            *by_title,
            *self._lines.get(("text", " ".join(forms(passage.text))), []),
        ]
        items = [
            TrainingItem(passage.id, line.question or rewrite_question(passage, number), line.answer, line.kind)
            for number, line in enumerate(lines)
        ]
        kept, rejected = validate(items, passage)
        self.report.parsed += len(items)
        self.report.rejected.update(entry.reason for entry in rejected)
        asked = [item for item in kept if item.kind not in LONG_KINDS][: self.questions]
        return asked + [item for item in kept if item.kind in LONG_KINDS][: self.rewrites]


def _jsonl(path: Path, text: str) -> Iterator[_Line]:
    for number, raw in enumerate(text.splitlines(), 1):
        if raw.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(raw)
            except ValueError as error:
                raise AugmentError(f"{where}: not JSON ({error}); expected one training item a line") from error
            yield _line(row, where)


def _line(row: Any, where: str) -> _Line:
    if not isinstance(row, dict):
        raise AugmentError(f"{where}: holds a {type(row).__name__}; expected an object with question and answer")
    named = [name for name in ("passage_id", "title", "text") if isinstance(row.get(name), str) and row[name]]
    if not named:
        raise AugmentError(f"{where}: names no passage; expected one of passage_id, title, text")
    kind = row.get("kind", "qa")
    if kind not in KINDS:
        raise AugmentError(f"{where}: kind is {kind!r}; expected one of {', '.join(KINDS)}")
    question, answer = row.get("question", "" if kind in LONG_KINDS else None), row.get("answer")
    for name, value in (("question", question), ("answer", answer)):
        if not isinstance(value, str) or (not value.strip() and (name == "answer" or kind not in LONG_KINDS)):
            raise AugmentError(f"{where}: {name} is {value!r}; expected a text that is not empty")
    key = named[0]
    value = " ".join(forms(row[key])) if key == "text" else row[key]
    return _Line(where, (key, value), str(question), str(answer), kind)


def _prag(path: Path, text: str) -> Iterator[_Line]:
    """PRAG's data_aug files (github.com/oneal2000/PRAG, src/augment.py)."""
    try:
        records = json.loads(text)
    except ValueError as error:
        raise AugmentError(f"{path}: not JSON ({error}); expected JSONL, or a list of PRAG's records") from error
    for number, record in enumerate(records, 1):
        for place, entry in enumerate(record.get("augment", []) if isinstance(record, dict) else [], 1):
            where = f"{path}, record {number}, passage {place}"
            if not isinstance(entry, dict) or not isinstance(entry.get("passage"), str):
                raise AugmentError(f"{where}: has no text under `passage`; expected a file of PRAG's augmentation")
            for name, value in entry.items():
                if name.endswith("_rewrite") and isinstance(value, str) and value.strip():
                    yield _line({"text": entry["passage"], "answer": value, "kind": "rewrite"}, where)
                elif name.endswith("_qa") and isinstance(value, list):
                    for pair in value:
                        yield _line(
                            {**(pair if isinstance(pair, dict) else {}), "text": entry["passage"], "kind": "qa"}, where
                        )
