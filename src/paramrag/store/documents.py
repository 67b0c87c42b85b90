"""Adding documents, removing them, and sweeping away what no document holds. The order of commits: see `journal`."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..errors import ConfigError, CorpusError, NotFoundError
from ..types import Document, Passage, Progress
from .catalog import Catalog
from .journal import Journal
from .records import AddReport, RemoveReport
from .search import FRAGMENT_ROWS, ensure_index, refresh, searchable
from .tables import (
    ADAPTERS,
    ATTACHED,
    DOCUMENT_SCHEMA,
    DOCUMENTS,
    ITEMS,
    PASSAGE_SCHEMA,
    PASSAGES,
    Tables,
    column,
)

if TYPE_CHECKING:
    from ..corpus import FileRead, Skipped

BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 8 << 20
_DELETE_KEYS = 10_000

Source = str | Path | Passage | Document
"""What can be added: a file, a folder, a passage, a document already cut."""


@dataclass
class _Sources:
    """The documents to add; once they are all taken, also what could not be read, and the files that were."""

    documents: Iterator[Document]
    skipped: list[Skipped] = field(default_factory=list)
    files: list[FileRead] = field(default_factory=list)


def read_sources(source: Source | Iterable[Source], *, words: int, progress: Progress | None) -> _Sources:
    """Turns what the user gave into documents. A passage given as such is a document of its own, with its id."""
    given = [source] if isinstance(source, Source) else list(source)
    ready: list[Document] = []
    paths: list[str | Path] = []
    for entry in given:
        if isinstance(entry, Document):
            ready.append(entry)
        elif isinstance(entry, Passage):
            ready.append(Document(entry.id, entry.title, entry.id, (entry,)))
        elif isinstance(entry, str | Path):
            paths.append(entry)
        else:
            raise ConfigError(f"cannot add a {type(entry).__name__}; expected a path, a Passage or a Document")
    if not paths:
        return _Sources(iter(ready))
    from ..corpus import read

    reading = read(paths, words=words, progress=progress)
    return _Sources(itertools.chain(ready, reading.documents), reading.skipped, reading.files)


def add(
    tables: Tables,
    journal: Journal,
    catalog: Callable[[], Catalog],
    sources: _Sources,
    progress: Progress | None,
) -> AddReport:
    """Adds documents in batches, each of them durable when the next begins."""
    added = replaced = unchanged = passages = done = 0
    seen: set[str] = set()
    for batch in _batches(sources.documents):
        done += len(batch)
        seen.update(document.id for document in batch)
        with journal.writing("add"):
            before = catalog()
            new = [document for document in batch if document.fingerprint != before.fingerprint(document.id)]
            if new:
                _write(tables, journal, catalog, new)
        gone = sum(document.id in before for document in new)
        added, replaced, unchanged = added + len(new) - gone, replaced + gone, unchanged + len(batch) - len(new)
        passages += sum(len(document.passages) for document in new)
        if progress:
            progress("add", done, None)
    removed = _remove_gone(tables, journal, catalog, sources, seen)
    if added or replaced or removed:
        if progress:
            progress("index", 0, 1)
        with journal.writing("index"):
            refresh(tables)
            tables.tidy(DOCUMENTS, FRAGMENT_ROWS)
        if progress:
            progress("index", 1, 1)
    return AddReport(added, replaced, unchanged, passages, removed, tuple(sources.skipped))


def remove(
    tables: Tables, journal: Journal, catalog: Callable[[], Catalog], document_ids: Sequence[str]
) -> RemoveReport:
    """Removes documents and what only they held.

    Raises:
        NotFoundError: one of them is not there; nothing is removed then.
    """
    with journal.writing("remove"):
        before = catalog()
        missing = [document_id for document_id in document_ids if document_id not in before]
        if missing:
            raise NotFoundError(
                f"the collection holds no document {missing[0]!r}"
                + (f" (and {len(missing) - 1} more of the {len(document_ids)} named)" if len(missing) > 1 else "")
                + "; nothing was removed; `documents()` lists those it holds"
            )
        with journal.marked("remove"):
            documents, counts = _drop(tables, catalog, dict.fromkeys(document_ids))
            refresh(tables)
    return RemoveReport(documents, counts[PASSAGES], counts[ITEMS], counts[ADAPTERS])


def sweep(tables: Tables, catalog: Catalog) -> int:
    """Deletes every row that hangs on no document, and returns how many there were."""
    return sum(_forget(tables, catalog, None).values())


def orphans(tables: Tables, catalog: Catalog) -> int:
    """Returns how many rows hang on no document."""
    return sum(
        not catalog.holds(key) for name in tables.names(PASSAGES, *ATTACHED) for key in tables.require(name).offsets
    )


def _remove_gone(
    tables: Tables, journal: Journal, catalog: Callable[[], Catalog], sources: _Sources, seen: set[str]
) -> int:
    """Removes the records that have gone from files that were read whole, and returns how many there were.

    What the collection has of a file that was not read whole stays; a note among the skipped says so.
    """
    from ..corpus import Skipped

    def missed(file: FileRead, held: Catalog) -> list[str]:
        if file.records:
            own = [found for found in held.beginning(f"{file.id}#") if not _is_file(found, file.id)]
        else:
            own = [file.id] if file.id in held else []
        return [document_id for document_id in own if document_id not in seen]

    if not any(missed(file, held) for held in [catalog()] for file in sources.files):
        return 0
    with journal.writing("add"):
        held = catalog()
        gone = [document_id for file in sources.files if file.whole for document_id in missed(file, held)]
        if gone:
            with journal.marked("add"):
                _drop(tables, catalog, gone)
    for file in sources.files:
        kept = [] if file.whole else missed(file, held)
        if kept:
            what = "1 document" if len(kept) == 1 else f"{len(kept):,} documents"
            sources.skipped.append(
                Skipped(file.path, f"what it gave before is kept ({what}); mend it and add it again, or remove that")
            )
    return len(gone)


def _is_file(document_id: str, corpus_id: str) -> bool:
    """Returns whether a document that looks like a record of a corpus file is of another file, with `#` in its path."""
    ends = [at.start() for at in re.finditer("#", document_id) if at.start() > len(corpus_id)]
    return any(os.path.exists(document_id[:end]) for end in (*ends, len(document_id)))


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Cuts the stream into commits; a document id that comes twice opens a new one, so that the later wins."""
    batch: dict[str, Document] = {}
    characters = 0
    for document in documents:
        if document.id in batch or len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield list(batch.values())
            batch, characters = {}, 0
        batch[document.id] = document
        characters += sum(len(passage.text) for passage in document.passages)
    if batch:
        yield list(batch.values())


def _write(tables: Tables, journal: Journal, catalog: Callable[[], Catalog], documents: list[Document]) -> None:
    tables.create(PASSAGES, PASSAGE_SCHEMA)
    ensure_index(tables)
    tables.create(DOCUMENTS, DOCUMENT_SCHEMA)
    known = tables.require(PASSAGES).offsets
    passages = {
        passage_id: passage
        for document in documents
        for passage in document.passages
        for passage_id in [passage.id]
        if passage_id not in known
    }
    document_rows, passage_rows = _document_rows(documents), _passage_rows(passages)
    replaced = catalog().held_by(document.id for document in documents)
    with journal.marked("add"):
        if passages:
            tables.append(PASSAGES, passage_rows)
        tables.upsert(DOCUMENTS, document_rows)
        if replaced:
            _forget(tables, catalog(), replaced)


def _drop(tables: Tables, catalog: Callable[[], Catalog], document_ids: Iterable[str]) -> tuple[int, dict[str, int]]:
    """Deletes documents, then what only they held; returns how many documents, and rows per kind."""
    ids = list(document_ids)
    held = catalog().held_by(ids)
    return _delete(tables, DOCUMENTS, ids), _forget(tables, catalog(), held)


def _document_rows(documents: list[Document]) -> pa.Table:
    return _checked(
        {
            "id": [document.id for document in documents],
            "title": [document.title for document in documents],
            "fingerprint": [document.fingerprint for document in documents],
            "passage_ids": [[passage.id for passage in document.passages] for document in documents],
            "starts": [[passage.start for passage in document.passages] for document in documents],
            "ends": [[passage.end for passage in document.passages] for document in documents],
        },
        DOCUMENT_SCHEMA,
    )


def _passage_rows(passages: dict[str, Passage]) -> pa.Table:
    return _checked(
        {
            "id": list(passages),
            "title": [passage.title for passage in passages.values()],
            "body": [searchable(passage.title, passage.text) for passage in passages.values()],
        },
        PASSAGE_SCHEMA,
    )


def _checked(columns: dict[str, list[Any]], schema: pa.Schema) -> pa.Table:
    try:
        return pa.table(columns, schema=schema)
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"a document holds text that is not valid Unicode ({error.reason}): "
            f"{error.object[max(0, error.start - 20) : error.start + 20]!r}; decode its source with errors='replace'"
        ) from error


def _forget(tables: Tables, catalog: Catalog, candidates: set[str] | None) -> dict[str, int]:
    """Deletes the rows of passages that no document holds, of the candidates or of all; returns counts per kind."""
    counts = dict.fromkeys((PASSAGES, *ATTACHED), 0)
    for name in tables.names(*counts):
        snapshot = tables.require(name)
        keys = snapshot.offsets if candidates is None else candidates
        dead = [key for key in keys if key in snapshot.offsets and not catalog.holds(key)]
        if not dead:
            continue
        kind = next(kind for kind in counts if name.startswith(kind))
        if kind == ITEMS:
            counts[kind] += sum(column(snapshot.take(dead, ["count"]), "count"))
        else:
            counts[kind] += len(dead)
        _delete(tables, name, dead)
    return counts


def _delete(tables: Tables, name: str, keys: Iterable[str]) -> int:
    listed = list(keys)
    return sum(
        tables.delete(name, listed[first : first + _DELETE_KEYS]) for first in range(0, len(listed), _DELETE_KEYS)
    )
