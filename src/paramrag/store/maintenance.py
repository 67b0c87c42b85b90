"""Verifying, compacting and measuring a collection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np

from ..errors import ParamRAGError
from ..types import Progress
from . import adapters, items, search
from .catalog import Catalog
from .codec import decode
from .documents import orphans, sweep
from .journal import Journal
from .records import CollectionStats, CompactReport, VerifyReport
from .tables import ADAPTERS, ITEMS, PASSAGES, READ_ERRORS, Snapshot, Tables, column

_BATCH_ROWS = 64


def verify(tables: Tables, journal: Journal, catalog: Catalog) -> VerifyReport:
    """Reads every row: identities, duplicates, references, sizes, finite numbers; and looks for unfinished writes."""
    checks = {
        "passages": _check_passages,
        "items": _check_items,
        "adapters": _check_adapters,
        "duplicates": _check_duplicates,
    }
    counts: dict[str, int] = {}
    problems: list[str] = []
    for name, check in checks.items():
        try:
            counts[name], found = check(tables, catalog)
        except READ_ERRORS as error:
            if isinstance(error, ParamRAGError) or tables.moved():
                raise
            counts[name], found = (
                0,
                [f"{name} cannot be read: {_first_line(error)}; restore the collection from a copy"],
            )
        problems += found
    unfinished = [] if problems else _unfinished(tables, journal, catalog)
    return VerifyReport(
        len(catalog), counts["passages"], counts["items"], counts["adapters"], tuple(problems), tuple(unfinished)
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


def _unfinished(tables: Tables, journal: Journal, catalog: Catalog) -> list[str]:
    found: list[str] = []
    if not journal.busy:  # a writer at work now is not an interrupted one
        if journal.unfinished:
            found.append(f"{journal.unfinished} was interrupted; the next write or compact clears up after it")
        if orphaned := orphans(tables, catalog):
            found.append(f"{orphaned} rows belong to no document; compact removes them")
    snapshot = tables.snapshot(PASSAGES)
    if snapshot:
        if not search.has_index(snapshot):
            found.append("the passages have no search index; the next add or compact makes it")
        elif stale := search.unindexed(snapshot):
            found.append(
                f"{stale} passages are found by a scan, not by the index; the next add or compact indexes them"
            )
    return found


def _check_duplicates(tables: Tables, catalog: Catalog) -> tuple[int, list[str]]:
    problems = []
    for name in tables.names():
        snapshot = tables.require(name)
        doubled = snapshot.count() - len(snapshot.offsets)
        if doubled:
            problems.append(f"table {name}: {doubled} rows repeat a key; restore the collection from a copy")
    return len(problems), problems


def _check_passages(tables: Tables, catalog: Catalog) -> tuple[int, list[str]]:
    snapshot = tables.snapshot(PASSAGES)
    stored = snapshot.offsets if snapshot else {}
    problems = []
    lost = [passage_id for passage_id in catalog.passage_ids if passage_id not in stored]
    if lost:
        problems.append(
            f"{len(lost)} passages of documents have no row, first {lost[0]!r}; remove and add their documents again"
        )
    for batch in snapshot.dataset.to_batches(batch_size=4096) if snapshot else ():
        for row in batch.to_pylist():
            if search.passage_of(row["title"], row["body"], 0, 0).id != row["id"]:
                problems.append(
                    f"passage {row['id']!r} does not say what its id says; remove and add its document again"
                )
    return len(catalog.passage_ids) - len(lost), problems


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
                finite = np.isfinite(decode(data, layout, dtype)).all()
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


def _first_line(error: BaseException) -> str:
    return (str(error) or repr(error)).splitlines()[0][:200]


def _file_sizes(directory: Path) -> Iterator[int]:
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                yield os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # a file that a writer has just deleted
                continue
