"""Training items: one table per augmentation, one row per passage with all its items.

A passage that was augmented and yielded nothing has a row with no items; one that was never augmented has no row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

from ..errors import MismatchError, NotFoundError
from ..types import TrainingItem, content_hash
from .catalog import Catalog
from .tables import ITEM_SCHEMA, ITEMS, StaleReadError, Tables, column

FILE_ROWS = 65_536
"""Passages per file: what merging small files has to rewrite."""


def table_name(augmentation_id: str) -> str:
    """Returns the name of the table that holds the items of an augmentation."""
    return ITEMS + content_hash(augmentation_id)


def put(tables: Tables, catalog: Catalog, augmentation_id: str, items: Mapping[str, Sequence[TrainingItem]]) -> None:
    """Stores the items of passages in one commit; what the augmentation had for them before is replaced."""
    for passage_id, own in items.items():
        for item in own:
            if item.passage_id != passage_id:
                raise MismatchError(
                    f"training item {item.id} belongs to passage {item.passage_id!r} but is given for {passage_id!r}"
                )
    live = {passage_id: own for passage_id, own in items.items() if catalog.holds(passage_id)}
    tables.create(table_name(augmentation_id), ITEM_SCHEMA, {"augmentation": augmentation_id})
    if live:
        rows = {
            "passage_id": list(live),
            "count": [len(own) for own in live.values()],
            "items": [json.dumps([_to_json(item) for item in own]) for own in live.values()],
        }
        tables.upsert(table_name(augmentation_id), pa.table(rows, schema=ITEM_SCHEMA))
        tables.tidy(table_name(augmentation_id), FILE_ROWS)
    unknown = sorted(set(items) - set(live))
    if unknown:
        raise NotFoundError(
            f"{len(unknown)} of {len(items)} passages with items are not in the collection, first {unknown[0]!r}; "
            "the items of the others were stored; add the documents again, or leave these out"
        )


def get(
    tables: Tables, catalog: Catalog, passage_ids: Sequence[str], augmentation_id: str
) -> dict[str, list[TrainingItem]]:
    """Returns passage id -> items for those passages that were augmented."""
    snapshot = tables.snapshot(table_name(augmentation_id))
    if snapshot is None:
        return {}
    wanted = [key for key in dict.fromkeys(passage_ids) if key in snapshot.offsets and catalog.holds(key)]
    if not wanted:
        return {}
    stored = column(snapshot.take(wanted, ["items"]), "items")
    if len(stored) != len(wanted):
        raise StaleReadError(f"items of {augmentation_id!r}: {len(stored)} of {len(wanted)} rows found; run `verify`")
    return {key: parse(key, text) for key, text in zip(wanted, stored, strict=True)}


def parse(passage_id: str, text: str) -> list[TrainingItem]:
    """Reads the items of one passage from a stored row."""
    return [
        TrainingItem(
            passage_id,
            entry["question"],
            entry["answer"],
            entry["kind"],
            tuple(entry["span"]) if entry["span"] else None,
        )
        for entry in json.loads(text)
    ]


def _to_json(item: TrainingItem) -> dict[str, object]:
    return {"question": item.question, "answer": item.answer, "kind": item.kind, "span": item.span}
