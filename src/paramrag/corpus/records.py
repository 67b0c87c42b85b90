"""The corpus formats of the field: one JSON object in, one document (or a question's passages) out.

The format is detected from a file's first record; every record is checked against it. Knows nothing of files and lines.

    BEIR        {"_id", "title", "text"}                              https://github.com/beir-cellar/beir
    FlashRAG    {"id", "contents": "title\\ntext"}, already cut        https://github.com/RUC-NLPIR/FlashRAG
    KILT        {"wikipedia_id" or "_id", "wikipedia_title", "text": [paragraph, ...]}
                                                                      https://github.com/facebookresearch/KILT
    questions   {"question", "passages": [{"id", "title", "text"} or text]}, already cut: benchmark files
    plain       {"text", "title"?, "id"?}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import CorpusError
from ..types import content_hash
from .decoding import clean
from .sections import Heading, Text

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One document of a corpus file."""

    id: str
    """Its id in the file; empty if it has none."""
    text: Text
    """Title and text."""
    cut: bool
    """Whether the corpus is already cut into passages: this is one."""

    @property
    def content(self) -> str:
        """Hash of what it says."""
        return content_hash(self.text.title, self.text.body)


@dataclass(frozen=True, slots=True)
class Format:
    """How the records of one corpus format are read."""

    name: str
    """What people call it."""
    records: Callable[[Json], Iterator[Record]]
    """One JSON object to its documents; CorpusError names what is wrong with it."""


def detect(first: Json) -> Format:
    """Returns the format of the file whose first record this is.

    Raises:
        CorpusError: if the record is a question or query without documents, or of no known format.
    """
    keys = first.keys()
    if "passages" in keys:
        return Format("questions", _question)
    if "contents" in keys:
        return Format("FlashRAG", _flashrag)
    if "wikipedia_title" in keys and "text" in keys:
        return Format("KILT", _kilt)
    if {"input", "output"} <= keys:
        raise CorpusError("a KILT question file holds no documents; add KILT's knowledge source instead")
    if "question" in keys or "golden_answers" in keys:
        raise CorpusError("a question file without 'passages' holds no documents; add its corpus instead")
    if {"_id", "text"} <= keys and "title" not in keys:
        raise CorpusError(
            "looks like a BEIR query file: '_id' and 'text' without 'title'; add corpus.jsonl instead, or give each "
            'record a "title" (it may be empty) if these are documents'
        )
    if {"_id", "text"} <= keys:
        return Format("BEIR", _beir)
    if "text" in keys:
        return Format("plain", _plain)
    shown = ", ".join(repr(clean(key)) for key in list(keys)[:8]) or "none"
    raise CorpusError(
        f"no known corpus format: the first record has keys {shown}; expected 'text' (with 'title', 'id' or '_id'), "
        "'contents' (FlashRAG), 'wikipedia_title' and 'text' (KILT), or 'passages' (questions)"
    )


def _beir(record: Json) -> Iterator[Record]:
    yield Record(_name(record, "_id"), Text(_title(record), _body(record)), cut=False)


def _plain(record: Json) -> Iterator[Record]:
    key = "id" if "id" in record else "_id"
    yield Record(_name(record, key, optional=True), Text(_title(record), _body(record)), cut=False)


def _flashrag(record: Json) -> Iterator[Record]:
    title, _, text = _body(record, "contents").partition("\n")
    if not text.strip():  # no title line
        title, text = "", title
    title = title.strip()
    if len(title) > 1 and title[0] == title[-1] == '"':  # the Wikipedia dump of DPR quotes titles, and FlashRAG kept it
        title = title[1:-1].replace('""', '"')
    yield Record(_name(record, "id"), Text(title, text), cut=True)


def _kilt(record: Json) -> Iterator[Record]:
    """Paragraphs follow a copy of the title; headings read `Section::::Life.:Youth.`, list items `BULLET::::- `."""
    paragraphs = record.get("text")
    if not isinstance(paragraphs, list) or not all(isinstance(paragraph, str) for paragraph in paragraphs):
        raise CorpusError(f"'text' is {_shown(paragraphs)}; expected a list of paragraphs")
    title = _title(record, "wikipedia_title")
    pieces: list[str] = []
    headings: list[Heading] = []
    length = 0
    for number, paragraph in enumerate(paragraphs):
        piece = clean(paragraph).strip()
        if not piece or (number == 0 and piece == title):
            continue
        section = piece.startswith("Section::::")
        if section:
            names = [name.strip(" .") for name in piece.removeprefix("Section::::").split(":")]
            piece = ": ".join(name for name in names if name)
        else:
            piece = piece.removeprefix("BULLET::::")
        start = length + (2 if pieces else 0)
        length = start + len(piece)
        pieces.append(piece)
        if section and piece:
            headings.append(Heading(1, piece, start, length))
    body = "\n\n".join(pieces)
    if not body.strip():
        raise CorpusError("'text' is empty")
    key = "wikipedia_id" if "wikipedia_id" in record else "_id"
    yield Record(_name(record, key), Text(title, body, tuple(headings)), cut=False)


def _question(record: Json) -> Iterator[Record]:
    passages = record.get("passages")
    if not isinstance(passages, list):
        raise CorpusError(f"'passages' is {_shown(passages)}; expected a list of objects with 'text'")
    for number, passage in enumerate(passages):
        if isinstance(passage, str):
            passage = {"text": passage}
        if not isinstance(passage, dict):
            raise CorpusError(f"passage {number} is {_shown(passage)}; expected text, or an object with 'text'")
        try:
            text = Text(_title(passage), _body(passage))
            name = _name(passage, "id", optional=True)
        except CorpusError as error:
            raise CorpusError(f"passage {number}: {error}") from error
        yield Record(name or content_hash(text.title, text.body), text, cut=True)


def _name(record: Json, key: str, *, optional: bool = False) -> str:
    value = record.get(key)
    if value is None and optional:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise CorpusError(f"{key!r} is {_shown(value)}; expected a text or a whole number")
    return clean(str(value))


def _title(record: Json, key: Literal["title", "wikipedia_title"] = "title") -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorpusError(f"{key!r} is {_shown(value)}; expected text")
    return clean(value)


def _body(record: Json, key: Literal["text", "contents"] = "text") -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise CorpusError(f"{key!r} is {_shown(value)}; expected text")
    if not value.strip():
        raise CorpusError(f"{key!r} is empty")
    return clean(value)


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value!r:.40}" if isinstance(value, str | int | float) else f"of type {type(value).__name__}"
