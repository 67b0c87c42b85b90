"""Which documents there are and which passages they hold: the documents table, read into memory.

The documents table is the root of the collection. A passage, and all that hangs on it, exists for readers exactly
while a document holds it; where several do, the one with the smallest id speaks for it. So what readers see depends
on the documents that are there, not on the order in which they came or on others that were there before.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .records import DocumentRecord
from .tables import DOCUMENT_SCHEMA, Snapshot, column


class Place(NamedTuple):
    """Where a passage stands."""

    document_id: str
    start: int
    end: int


class Catalog:
    """The documents of one version of the collection."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.version = snapshot.version if snapshot else 0
        rows = snapshot.dataset.to_table() if snapshot else DOCUMENT_SCHEMA.empty_table()
        self._rows: pa.Table = rows.sort_by("id").combine_chunks()
        self._ids: list[str] = column(self._rows, "id")
        self._row_of = {document_id: row for row, document_id in enumerate(self._ids)}
        counts = pc.list_value_length(self._rows["passage_ids"]).to_numpy(zero_copy_only=False)
        self._firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._flat: list[str] = pc.list_flatten(self._rows["passage_ids"]).to_pylist()
        # Written backwards, so that the first document and the first place in it win.
        self._first_place = dict(zip(reversed(self._flat), range(len(self._flat) - 1, -1, -1), strict=True))

    @cached_property
    def _spans(self) -> tuple[np.ndarray, np.ndarray]:
        flat = [pc.list_flatten(self._rows[name]).to_numpy(zero_copy_only=False) for name in ("starts", "ends")]
        return flat[0], flat[1]

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, document_id: str) -> bool:
        return document_id in self._row_of

    def beginning(self, prefix: str) -> list[str]:
        """Returns the documents whose id begins with the prefix, by id."""
        first = bisect_left(self._ids, prefix)
        return list(itertools.takewhile(lambda found: found.startswith(prefix), self._ids[first:]))

    def fingerprint(self, document_id: str) -> str | None:
        """Returns the fingerprint of a document, or None where there is no such document."""
        row = self._row_of.get(document_id)
        return None if row is None else self._rows["fingerprint"][row].as_py()

    def held_by(self, document_ids: Iterable[str]) -> set[str]:
        """Returns the passages that the given documents hold; unknown documents hold none."""
        held: set[str] = set()
        for document_id in document_ids:
            row = self._row_of.get(document_id)
            if row is not None:
                held.update(self._flat[self._firsts[row] : self._firsts[row + 1]])
        return held

    def holds(self, passage_id: str) -> bool:
        """Returns whether any document holds the passage."""
        return passage_id in self._first_place

    @cached_property
    def passage_ids(self) -> list[str]:
        """The passages, each once: by document id, then in reading order."""
        return list(dict.fromkeys(self._flat))

    def place(self, passage_id: str) -> Place:
        """Returns where a passage stands, in the document that speaks for it."""
        flat = self._first_place[passage_id]
        row = int(np.searchsorted(self._firsts, flat, side="right")) - 1
        starts, ends = self._spans
        return Place(self._ids[row], int(starts[flat]), int(ends[flat]))

    def records(self) -> list[DocumentRecord]:
        """Returns all documents, by id."""
        titles, fingerprints = column(self._rows, "title"), column(self._rows, "fingerprint")
        return [
            DocumentRecord(
                document_id,
                titles[row],
                fingerprints[row],
                tuple(self._flat[self._firsts[row] : self._firsts[row + 1]]),
            )
            for row, document_id in enumerate(self._ids)
        ]
