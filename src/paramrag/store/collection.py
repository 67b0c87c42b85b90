"""The collection: one directory with documents, passages, training items, adapters and the search index.

Many processes may read while one writes; several writers take turns (see `journal`). A `Collection` may be shared
between threads. It knows nothing of models: a base is a fingerprint, a recipe an id, an adapter a row of numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..config import Recipe
from ..errors import CollectionError, NotFoundError
from ..types import Adapter, Hit, Passage, Progress, TrainingItem
from . import adapters, documents, items, location, maintenance, search, vectors
from .cache import RowCache
from .catalog import Catalog
from .documents import Source
from .journal import Journal
from .layout import AdapterLayout
from .records import (
    AddReport,
    CollectionStats,
    CompactReport,
    DocumentRecord,
    RecipeRecord,
    RemoveReport,
    VerifyReport,
)
from .tables import DOCUMENTS, PASSAGES, StaleReadError, Tables, column


class Collection:
    """An open collection; make one with `Collection.open`."""

    def __init__(self, path: Path, cache_bytes: int, lock_timeout_s: float) -> None:
        self.path = path
        self._tables = Tables(path)
        self._cache = RowCache(cache_bytes)
        self._journal = Journal(path, lock_timeout_s, self._repair)
        self._known: Catalog | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool = True,
        cache_bytes: int = 256 << 20,
        lock_timeout_s: float = 60.0,
    ) -> Collection:
        """Opens the collection in a directory.

        Args:
            path: the directory.
            create: make a collection where the directory is absent or empty.
            cache_bytes: memory for decoded adapter rows.
            lock_timeout_s: how long a write waits for another process that writes.

        Raises:
            NotFoundError: there is none, and `create` is false.
            CollectionError: the directory holds something else, or a newer layout.
        """
        directory = Path(path).expanduser()
        location.prepare(directory, create=create)
        return cls(directory, cache_bytes, lock_timeout_s)

    @property
    def revision(self) -> int:
        """Rises whenever documents come, change or go; what was derived from the passages is valid while it stays."""
        snapshot = self._tables.snapshot(DOCUMENTS)
        return snapshot.version if snapshot else 0

    # Documents and passages

    def add(
        self, source: Source | Iterable[Source], *, words: int = 100, progress: Progress | None = None
    ) -> AddReport:
        """Adds files, folders, passages or documents. What is there unchanged is left alone; what changed is replaced.

        A record that has gone from a corpus file is removed when the file is added again, unless some of the file
        could not be read: then all it had stays, and the report says so.

        Args:
            source: one or several of them. A `Passage` becomes a document of its own, whose id is the passage's.
            words: words per passage, for what has to be cut.
            progress: called as ("add", documents so far, None), then ("index", 0 or 1, 1).

        Raises:
            CorpusError: a text is not valid Unicode; batches before it are stored. Files that cannot be read raise
                nothing: the report lists them as skipped.
        """
        sources = documents.read_sources(source, words=words, progress=progress)
        report = documents.add(self._tables, self._journal, self._catalog, sources, progress)
        if report.replaced or report.removed:
            adapters.drop_forgotten(self._tables, self._cache)
        return report

    def remove(self, document_ids: str | Iterable[str], progress: Progress | None = None) -> RemoveReport:
        """Forgets documents: their text, and of passages that no other document holds, items, adapters and vectors.

        Nothing answers from them afterwards. Old versions of the files keep their bytes until `compact`.

        Raises:
            NotFoundError: one of them is not there; nothing is removed then.
        """
        ids = [document_ids] if isinstance(document_ids, str) else list(document_ids)
        if progress:
            progress("remove", 0, len(ids))
        report = documents.remove(self._tables, self._journal, self._catalog, ids)
        adapters.drop_forgotten(self._tables, self._cache)
        if progress:
            progress("remove", len(ids), len(ids))
        return report

    def documents(self) -> list[DocumentRecord]:
        """Returns all documents, by id."""
        return self._tables.reading(lambda: self._catalog().records())

    def passage_ids(self) -> list[str]:
        """Returns all passages, each once: by document id, then in reading order."""
        return list(self._tables.reading(self._catalog).passage_ids)

    def passages(self, ids: Sequence[str] | None = None) -> list[Passage]:
        """Returns passages in the order asked, or all of them in the order of `passage_ids`.

        Raises:
            NotFoundError: names the first that is missing.
        """
        return self._tables.reading(lambda: self._passages(ids))

    def document_of(self, passage_ids: Iterable[str]) -> dict[str, str]:
        """Returns passage id -> the document that holds it; of several, the one with the smallest id.

        Raises:
            NotFoundError: names the first that is missing.
        """
        catalog = self._tables.reading(self._catalog)
        wanted = list(passage_ids)
        _require_held(catalog, wanted)
        return {passage_id: catalog.place(passage_id).document_id for passage_id in wanted}

    def search(self, query: str, k: int) -> list[Hit]:
        """Returns the best k passages by BM25, best first; equal scores by passage id.

        Fewer than k, or none, where no more passages share a word with the query (stop words do not count).
        No character of the query has a special meaning.

        Raises:
            ConfigError: k is negative, or the query is not a string.
        """
        return self._tables.reading(lambda: search.search(self._tables, self._catalog, query, k))

    def coverage(self, query: str, passage_ids: Sequence[str]) -> list[float]:
        """Returns how much of a query each passage holds, 0 to 1: rare words count more, unknown ones not at all.

        Unlike a score, it says whether a passage has to do with the query at all, and compares across queries.
        """
        return self._tables.reading(lambda: search.coverage(self._tables, query, passage_ids))

    # Training items

    def put_items(self, augmentation_id: str, items_of: Mapping[str, Sequence[TrainingItem]]) -> None:
        """Stores the training items that an augmentation made of passages, replacing what it had for them.

        Raises:
            MismatchError: an item is given for another passage than its own.
            NotFoundError: passages are not in the collection; the items of the others were stored.
        """
        with self._journal.writing("store training items"):
            items.put(self._tables, self._catalog(), augmentation_id, items_of)

    def items(self, passage_ids: Sequence[str], augmentation_id: str) -> dict[str, list[TrainingItem]]:
        """Returns the items of those passages that were augmented; an empty list is an augmentation without yield."""
        return self._tables.reading(lambda: items.get(self._tables, self._catalog(), passage_ids, augmentation_id))

    # Adapters

    def put_recipe(self, recipe: Recipe, base: str, layout: AdapterLayout) -> None:
        """Records a recipe for a base model, before its first adapter.

        Raises:
            MismatchError: it is recorded with another layout.
        """
        with self._journal.writing("record a recipe"):
            adapters.put_recipe(self._tables, recipe, base, layout)

    def recipes(self) -> list[RecipeRecord]:
        """Returns the recorded recipes with the number of their adapters, without those of `foreign_recipes`."""
        return self._tables.reading(lambda: adapters.recipes(self._tables, self._catalog()))

    def foreign_recipes(self) -> dict[str, str]:
        """Returns `recipe id @ base fingerprint` -> why, for recipes of a version of ParamRAG with other settings.

        Their adapters are kept, and `gather` and `adapter` read them by base and id; nothing new is made under them.
        """
        return self._tables.reading(lambda: adapters.foreign_recipes(self._tables))

    def put_adapters(self, new: Sequence[Adapter], *, dtype: str = "fp32") -> None:
        """Stores adapters durably, in one commit per recipe; one that is there already is replaced.

        Args:
            new: adapters whose recipe is recorded (`put_recipe`).
            dtype: how the numbers are stored: fp32, fp16, bf16, int8 or int4.

        Raises:
            MismatchError: a row or its layout is not the recipe's; nothing is stored.
            ConfigError: unknown dtype, or numbers that are not finite or do not fit it.
            NotFoundError: the recipe is not recorded, or passages are not in the collection; the adapters of the
                other passages were stored.
        """
        with self._journal.writing("store adapters"):
            adapters.put(self._tables, self._catalog(), new, dtype)

    def encoded(self, base: str, recipe_id: str, among: Sequence[str] | None = None) -> set[str]:
        """Returns the passages that have an adapter, of all or of some; none if the recipe is not recorded."""

        def read() -> set[str]:
            snapshot = self._tables.snapshot(adapters.table_name(base, recipe_id))
            if snapshot is None:
                return set()
            stored = snapshot.offsets if among is None else [key for key in among if key in snapshot.offsets]
            return set(filter(self._catalog().holds, stored))

        return self._tables.reading(read)

    def gather(self, passage_ids: Sequence[str], *, base: str, recipe: str) -> np.ndarray:
        """Returns the adapter rows of passages, float32 [k, P], in the order asked.

        Args:
            passage_ids: k passages; one may be named twice.
            base: fingerprint of the base model.
            recipe: id of the recipe.

        Raises:
            NotFoundError: lists the passages without an adapter.
        """
        return self._tables.reading(
            lambda: adapters.gather(self._tables, self._catalog(), self._cache, passage_ids, base, recipe)
        )

    def adapter(self, passage_id: str, *, base: str | None = None, recipe: str | None = None) -> Adapter:
        """Returns one adapter; base and recipe may be left out where only one fits.

        Raises:
            NotFoundError: there is none.
            ConfigError: there are several.
        """
        return self._tables.reading(
            lambda: adapters.adapter(self._tables, self._catalog(), self._cache, passage_id, base, recipe)
        )

    def layout(self, base: str, recipe: str) -> AdapterLayout:
        """Returns the layout with which a recipe is recorded.

        Raises:
            NotFoundError: it is not recorded.
        """
        return self._tables.reading(lambda: adapters.recorded_layout(adapters.require(self._tables, base, recipe)))

    # Dense vectors

    def put_vectors(self, model: str, passage_ids: Sequence[str], vectors_ND: np.ndarray) -> None:
        """Stores the embeddings of passages; those of passages that have gone meanwhile are left out."""
        with self._journal.writing("store vectors"):
            vectors.put(self._tables, self._catalog(), model, passage_ids, vectors_ND)

    def vectors(self, model: str) -> tuple[list[str], np.ndarray]:
        """Returns the passages that a model has embedded, and the vectors, float32 [N, D]."""
        return self._tables.reading(lambda: vectors.get(self._tables, self._catalog(), model))

    # Care

    def verify(self) -> VerifyReport:
        """Reads everything and reports what is damaged, and what an interrupted write left."""
        try:
            return self._tables.reading(lambda: maintenance.verify(self._tables, self._journal, self._catalog()))
        except CollectionError as error:
            return VerifyReport(0, 0, 0, 0, (str(error),), ())

    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Merges small files, sweeps what interrupted writes left, and erases old versions with what was removed."""
        report = maintenance.compact(self.path, self._tables, self._journal, self._catalog, progress)
        adapters.drop_forgotten(self._tables, self._cache)
        return report

    @property
    def cached_rows(self) -> tuple[int, int]:
        """How often `gather` found an adapter decoded in memory, and how often it did not."""
        return self._cache.hits, self._cache.misses

    @contextmanager
    def writing(self, operation: str) -> Iterator[None]:
        """Keeps all other writers, of this and other processes, out for the time of a `with` block.

        Raises:
            CollectionError: another process has been writing for longer than the lock's timeout.
        """
        with self._journal.writing(operation):
            yield

    def stats(self) -> CollectionStats:
        """Returns how much the collection holds."""
        return self._tables.reading(
            lambda: maintenance.stats(self.path, self._tables, self._catalog(), self._cache.size_bytes)
        )

    def _catalog(self) -> Catalog:
        snapshot = self._tables.snapshot(DOCUMENTS)
        with self._lock:
            if self._known is None or self._known.version != (snapshot.version if snapshot else 0):
                self._known = Catalog(snapshot)
            return self._known

    def _passages(self, ids: Sequence[str] | None) -> list[Passage]:
        catalog = self._catalog()
        wanted = catalog.passage_ids if ids is None else list(ids)
        _require_held(catalog, wanted)
        if not wanted:
            return []
        snapshot = self._tables.require(PASSAGES)
        lost = [passage_id for passage_id in wanted if passage_id not in snapshot.offsets]
        if lost:
            raise StaleReadError(f"{self.path}: passage {lost[0]!r} belongs to a document but has no row; run `verify`")
        rows = snapshot.take(wanted, ["title", "body"])
        places = map(catalog.place, wanted)
        return [
            search.passage_of(title, body, place.start, place.end)
            for title, body, place in zip(column(rows, "title"), column(rows, "body"), places, strict=True)
        ]

    def _repair(self) -> None:
        documents.sweep(self._tables, self._catalog())
        if self._tables.snapshot(PASSAGES):
            search.refresh(self._tables)


def _require_held(catalog: Catalog, passage_ids: Iterable[str]) -> None:
    for passage_id in passage_ids:
        if not catalog.holds(passage_id):
            raise NotFoundError(f"the collection holds no passage {passage_id!r}; its document may have been removed")
