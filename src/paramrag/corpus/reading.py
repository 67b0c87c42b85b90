"""Reads what the user names, files and folders of any mixture of formats, as documents cut into passages.

Nothing is dropped in silence: what is not read stands in `Reading.skipped` with its reason. Documents stream; the
largest thing in memory is one file (one line of a corpus file).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError, CorpusError
from ..types import Document, Passage, Progress, content_hash
from .cutting import CUTTER_VERSION, word_count
from .decoding import decode
from .files import Source, find, reason, shown, title_of
from .html import read_html
from .jsonl import read_records
from .markdown import read_markdown
from .pdf import read_pdf
from .records import Record
from .sections import Text, cut_text

_RECORDS = frozenset((".jsonl", ".ndjson", ".json"))
_REPORT_EVERY = 1 << 20  # bytes of a corpus file between two reports of progress


def _plain(data: bytes) -> Text:
    return Text("", decode(data))


def _markdown(data: bytes) -> Text:
    return read_markdown(decode(data))


_READERS: dict[str, Callable[[bytes], Text]] = {
    ".txt": _plain,
    ".text": _plain,
    ".rst": _plain,
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".pdf": read_pdf,
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not read."""

    path: str
    """The file or folder, as reached from what the user named."""
    reason: str
    """Why, and what to do about it; begins with `line 7: ` if the rest of the file was read."""


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file that was found, and whether its documents are all there is of it."""

    id: str
    """Id of its document, or what stands before `#` in the ids of its records."""
    path: str
    """The file, as reached from what the user named."""
    records: bool
    """Whether it is a corpus file: one document per record."""
    whole: bool
    """Whether all of it was read: nothing of it stands in `skipped`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading under way: iterate `documents` once, then look at `skipped` and `files`."""

    documents: Iterator[Document]
    """The documents, in order; each is read when it is asked for."""
    skipped: list[Skipped] = field(default_factory=list)
    """What was not read; complete once `documents` is exhausted."""
    files: list[FileRead] = field(default_factory=list)
    """The files that were found; complete once `documents` is exhausted."""


def read(
    paths: Iterable[str | Path], *, words: int = 100, max_bytes: int = 64 << 20, progress: Progress | None = None
) -> Reading:
    """Reads files, and folders with all that is in them, as documents.

    Text, Markdown, HTML and PDF files become one document each; JSON lines become one per record, in the formats named
    in `corpus.records`. Files with other endings are taken for what they contain. Corpora that are already cut
    (FlashRAG, benchmark questions) keep their passages as they are.

    Args:
        paths: files and folders; folders are walked in sorted order, hidden entries passed over.
        words: wanted length of a passage.
        max_bytes: largest file read, and longest line of a corpus file, which itself may have any size.
        progress: called with ("reading", bytes done, bytes in all).

    Raises:
        ConfigError: if `words` or `max_bytes` is less than 1.
    """
    if words < 1 or max_bytes < 1:
        raise ConfigError(f"words is {words} and max_bytes {max_bytes}; expected both to be at least 1")
    skipped: list[Skipped] = []
    files: list[FileRead] = []
    named = [paths] if isinstance(paths, str | Path) else paths  # a lone path is a path, not its letters
    return Reading(_documents(named, words, max_bytes, progress, skipped, files), skipped, files)


def _documents(
    paths: Iterable[str | Path],
    words: int,
    max_bytes: int,
    progress: Progress | None,
    skipped: list[Skipped],
    files: list[FileRead],
) -> Iterator[Document]:
    def skip(path: str | Path, why: str) -> None:
        skipped.append(Skipped(shown(path), why))

    sources = list(find(paths, skip))
    total, done = sum(source.size_bytes for source in sources), 0
    reported = 0

    def advance(bytes_read: int) -> None:
        nonlocal reported
        now = min(done + bytes_read, total)
        if progress and now >= reported + _REPORT_EVERY:
            reported = now
            progress("reading", reported, total)

    for source in sources:
        records, before = source.path.suffix.lower() in _RECORDS, len(skipped)
        try:
            if source.size_bytes == 0:
                raise CorpusError("empty file")
            if records:
                yield from _records(source, words, max_bytes, skip, advance)
            else:
                yield _document(source, words, max_bytes, skip)
        except CorpusError as error:
            skip(source.path, str(error))
        except OSError as error:
            skip(source.path, reason(error))
        files.append(FileRead(source.id, shown(source.path), records, whole=len(skipped) == before))
        done += source.size_bytes
        advance(0)
    if progress and reported < total:
        progress("reading", total, total)


def _document(source: Source, words: int, max_bytes: int, skip: Callable[[str | Path, str], None]) -> Document:
    """Reads a file that is one document."""
    if source.size_bytes > max_bytes:
        raise CorpusError(f"{source.size_bytes:,} bytes; above the limit of {max_bytes:,}; split it or raise the limit")
    data = source.path.read_bytes()
    read_text = _READERS.get(source.path.suffix.lower()) or _reader_for(data)
    text = read_text(data)
    for note in text.notes:
        skip(source.path, note)
    title = text.title or title_of(source.path)
    found = cut_text(text, title, words)
    if not found:
        raise CorpusError("no text in it, only white space or markup")
    fingerprint = content_hash(CUTTER_VERSION, str(words), hashlib.sha256(data).hexdigest())
    return Document(source.id, title, fingerprint, found)


def _reader_for(data: bytes) -> Callable[[bytes], Text]:
    """Chooses by content, for a file whose ending says nothing."""
    if data.startswith(b"%PDF-"):
        return read_pdf
    if data[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return read_html
    return _plain


def _records(
    source: Source,
    words: int,
    max_bytes: int,
    skip: Callable[[str | Path, str], None],
    advance: Callable[[int], None],
) -> Iterator[Document]:
    """Reads a corpus file: one document per record."""

    def skip_line(why: str) -> None:
        skip(source.path, why)

    for name, record in read_records(source.path, max_bytes=max_bytes, skip=skip_line, advance=advance):
        length = "uncut" if record.cut else str(words)
        yield Document(
            id=f"{source.id}#{name}",
            title=record.text.title or name,
            fingerprint=content_hash(CUTTER_VERSION, length, record.content),
            passages=_record_passages(record, words),
        )


def _record_passages(record: Record, words: int) -> tuple[Passage, ...]:
    """Cuts a record, unless its corpus is already cut or it is no longer than one and a half passages."""
    text = record.text
    if record.cut:  # verbatim, so that the passage keeps the id it has in the benchmark
        return (Passage(text.body, text.title, 0, len(text.body)),)
    if 2 * word_count(text.body) <= 3 * words:
        body = text.body.strip()
        start = text.body.index(body)
        return (Passage(body, text.title, start, start + len(body)),)
    return cut_text(text, text.title, words)
