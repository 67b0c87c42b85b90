"""Verifying, compacting and measuring a collection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from ..errors import ParamRAGError
from ..types import Progress
from . import adapters, items, search
from .catalog import Catalog
from .codec import decode
from .documents import orphans, sweep
from .journal import Journal
from .records import CollectionStats, CompactReport, VerifyReport
from .tables import ADAPTERS, ITEMS, PASSAGES, Snapshot, Tables, column

_BATCH_ROWS = 64


def verify(tables: Tables, journal: Journal, catalog: Catalog) -> VerifyReport:
    """Reads every row: identities, duplicates, references, sizes, finite numbers; and looks for unfinished writes."""
    problems: list[str] = []
    unfinished: list[str] = []
    problems += _duplicates(tables)
    problems += _damaged_passages(tables, catalog)
    item_count, found = _check_items(tables, catalog)
    problems += found
    adapter_count, found = _check_adapters(tables, catalog)
    problems += found
    if not journal.busy:  # a writer at work now is not an interrupted one
        if journal.unfinished:
            unfinished.append(f"{journal.unfinished} was interrupted; the next write or compact clears up after it")
        if orphaned := orphans(tables, catalog):
            unfinished.append(f"{orphaned} rows belong to no document; the next write or compact removes them")
    snapshot = tables.snapshot(PASSAGES)
    if snapshot:
        if not search.has_index(snapshot):
            unfinished.append("the passages have no search index; compact makes it")
        elif stale := search.unindexed(snapshot):
            unfinished.append(f"{stale} passages are found by a scan, not by the index; compact indexes them")
    return VerifyReport(
        len(catalog), len(catalog.passage_ids), item_count, adapter_count, tuple(problems), tuple(unfinished)
    )


def compact(
    directory: Path, tables: Tables, journal: Journal, catalog: Callable[[], Catalog], progress: Progress | None
) -> CompactReport:
    """Rewrites every table without its deleted rows, then erases all older versions and uncommitted files.

    A reader in another process that is in the middle of a read of an erased version reads again.
    """
    before = list(_file_sizes(directory))
    with journal.writing("compact"):
        swept = sweep(tables, catalog())
        names = tables.names()
        for done, name in enumerate(names):
            if progress:
                progress("compact", done, len(names))
            if name == PASSAGES:
                search.ensure_index(tables)
                search.refresh(tables)
            tables.handle(name).optimize.compact_files(
                materialize_deletions_threshold=0.0, target_rows_per_fragment=search.FRAGMENT_ROWS
            )
            # The newest version remembers its own commit, a deletion with the names of what it deleted; a commit that
            # says nothing comes after it. Nobody else is writing, so a file that no version names is a killed write's.
            tables.handle(name).update_config({"paramrag.compacted": "true"})
            tables.handle(name).cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
        if progress:
            progress("compact", len(names), len(names))
    after = list(_file_sizes(directory))
    return CompactReport(sum(before), sum(after), len(before), len(after), swept)


def stats(directory: Path, tables: Tables, catalog: Catalog, cache_bytes: int) -> CollectionStats:
    """Counts what readers see."""
    recipes = {
        "{recipe_id} @ {base}".format(**snapshot.metadata): sum(map(catalog.holds, snapshot.offsets))
        for snapshot in map(tables.require, tables.names(ADAPTERS))
    }
    item_count = sum(
        count
        for name in tables.names(ITEMS)
        for rows in [tables.require(name).dataset.to_table(columns=["passage_id", "count"])]
        for key, count in zip(column(rows, "passage_id"), column(rows, "count"), strict=True)
        if catalog.holds(key)
    )
    return CollectionStats(
        documents=len(catalog),
        passages=len(catalog.passage_ids),
        items=item_count,
        adapters=sum(recipes.values()),
        size_bytes=sum(_file_sizes(directory)),
        cache_bytes=cache_bytes,
        recipes=recipes,
    )


def _duplicates(tables: Tables) -> Iterator[str]:
    for name in tables.names():
        snapshot = tables.require(name)
        doubled = snapshot.count() - len(snapshot.offsets)
        if doubled:
            yield f"table {name}: {doubled} rows repeat a key; restore the collection from a copy"


def _damaged_passages(tables: Tables, catalog: Catalog) -> Iterator[str]:
    snapshot = tables.snapshot(PASSAGES)
    stored = snapshot.offsets if snapshot else {}
    lost = [passage_id for passage_id in catalog.passage_ids if passage_id not in stored]
    if lost:
        yield f"{len(lost)} passages of documents have no row, first {lost[0]!r}; remove and add their documents again"
    if snapshot is None:
        return
    for batch in snapshot.dataset.to_batches(batch_size=4096):
        for row in batch.to_pylist():
            if search.passage_of(row["title"], row["body"], 0, 0).id != row["id"]:
                yield f"passage {row['id']!r} does not say what its id says; remove and add its document again"


def _check_items(tables: Tables, catalog: Catalog) -> tuple[int, list[str]]:
    count, problems = 0, []
    for name in tables.names(ITEMS):
        for batch in tables.require(name).dataset.to_batches(batch_size=1024):
            for row in batch.to_pylist():
                try:
                    found = len(items.parse(row["passage_id"], row["items"]))
                except (ValueError, KeyError, TypeError) as error:
                    problems.append(f"training items of passage {row['passage_id']!r} cannot be read: {error!r}")
                    continue
                count += found if catalog.holds(row["passage_id"]) else 0
    return count, problems


def _check_adapters(tables: Tables, catalog: Catalog) -> tuple[int, list[str]]:
    count, problems = 0, []
    for name in tables.names(ADAPTERS):
        snapshot = tables.require(name)
        layout = adapters.recorded_layout(snapshot)
        for key, dtype, data in _adapter_rows(snapshot):
            try:
                finite = bool(abs(decode(data, layout, dtype)).max() < float("inf"))
            except ParamRAGError as error:
                problems.append(f"adapter of passage {key!r} in {name}: {error}")
                continue
            if not finite:
                problems.append(f"adapter of passage {key!r} in {name} holds numbers that are not finite")
            count += catalog.holds(key)
    return count, problems


def _adapter_rows(snapshot: Snapshot) -> Iterator[tuple[str, str, memoryview]]:
    for batch in snapshot.dataset.to_batches(batch_size=_BATCH_ROWS):
        for key, dtype, data in zip(batch["passage_id"], batch["dtype"], batch["row"], strict=True):
            yield key.as_py(), dtype.as_py(), memoryview(data.as_buffer())


def _file_sizes(directory: Path) -> Iterator[int]:
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                yield os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # a file that a writer has just deleted
                continue
