"""Adapters: one table per base model and recipe, one row per passage, gathered as [k, P].

The table carries the base's fingerprint, the recipe and the layout, so an adapter can be neither stored nor read
under a layout that is not its own. Rows are binary (a fixed-size list is no faster to gather and would tie a table
to one dtype). Decoded rows are kept in a cache under the address of the stored row, which no later row ever gets:
a replaced or forgotten adapter can therefore not be answered from memory.

Shapes: k adapters asked for, P numbers in a row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ..config import Recipe, parse_recipe
from ..errors import ConfigError, MismatchError, NotFoundError
from ..types import Adapter, AdapterKey, content_hash
from .cache import RowCache
from .catalog import Catalog
from .codec import check_dtype, decode, encode, size_bytes
from .layout import AdapterLayout
from .records import RecipeRecord
from .tables import ADAPTER_SCHEMA, ADAPTERS, Snapshot, Tables, column

FILE_BYTES = 256 << 20
"""Adapters per file, in bytes: what merging small files has to rewrite."""


def table_name(base: str, recipe_id: str) -> str:
    """Returns the name of the table that holds the adapters of a base and recipe."""
    return ADAPTERS + content_hash(base, recipe_id)


def put_recipe(tables: Tables, recipe: Recipe, base: str, layout: AdapterLayout) -> None:
    """Records how rows of this recipe are laid out; again with the same layout is a no-op."""
    name = table_name(base, recipe.id)
    snapshot = tables.snapshot(name)
    if snapshot is None:
        metadata = {
            "base": base,
            "recipe_id": recipe.id,
            "recipe": json.dumps(recipe.model_dump(mode="json")),
            "layout": json.dumps(layout.to_json()),
        }
        tables.create(name, ADAPTER_SCHEMA, metadata)
    else:
        _check_layout(recorded_layout(snapshot), layout, recipe.id)


def put(tables: Tables, catalog: Catalog, adapters: Sequence[Adapter], dtype: str) -> None:
    """Stores adapters in one commit per recipe; one that is there already is replaced."""
    check_dtype(dtype)
    groups: dict[tuple[str, str], dict[str, Adapter]] = {}
    for adapter in adapters:
        groups.setdefault((adapter.key.base, adapter.key.recipe), {})[adapter.key.passage_id] = adapter
    encoded: dict[str, pa.Table] = {}
    file_rows: dict[str, int] = {}
    for (base, recipe_id), group in groups.items():
        name = table_name(base, recipe_id)
        layout = recorded_layout(require(tables, base, recipe_id))
        for adapter in group.values():
            _check_layout(layout, adapter.layout, recipe_id)
        live = [adapter for passage_id, adapter in group.items() if catalog.holds(passage_id)]
        file_rows[name] = max(1, FILE_BYTES // size_bytes(layout, dtype))
        encoded[name] = pa.table(
            {
                "passage_id": [adapter.key.passage_id for adapter in live],
                "dtype": [dtype] * len(live),
                "row": [encode(adapter.row, layout, dtype) for adapter in live],
                "stats": [json.dumps(dict(adapter.stats)) for adapter in live],
            },
            schema=ADAPTER_SCHEMA,
        )
    for name, rows in encoded.items():
        if rows.num_rows:
            tables.upsert(name, rows)
            tables.tidy(name, file_rows[name])
    unknown = sorted({a.key.passage_id for a in adapters if not catalog.holds(a.key.passage_id)})
    if unknown:
        raise NotFoundError(
            f"{len(unknown)} of {len(adapters)} adapters are of passages that the collection does not hold, "
            f"first {unknown[0]!r}; the others were stored; add the documents again, or leave these adapters out"
        )


def require(tables: Tables, base: str, recipe_id: str) -> Snapshot:
    """Returns the newest version of a recipe's table.

    Raises:
        NotFoundError: the recipe is not recorded for that base model.
    """
    snapshot = tables.snapshot(table_name(base, recipe_id))
    if snapshot is None:
        known = [
            "{recipe_id} for base {base}".format(**tables.require(name).metadata) for name in tables.names(ADAPTERS)
        ]
        raise NotFoundError(
            f"the collection has no recipe {recipe_id!r} for base model {base!r}; it has "
            f"{', '.join(known) or 'none'}; encode it, or record it with put_recipe before storing adapters"
        )
    return snapshot


def recorded_layout(snapshot: Snapshot) -> AdapterLayout:
    """Returns the layout with which a table was created."""
    return AdapterLayout.from_json(json.loads(snapshot.metadata["layout"]))


def recipes(tables: Tables, catalog: Catalog) -> list[RecipeRecord]:
    """Returns the recorded recipes with their adapters counted, by base and id; not the foreign ones."""
    found = []
    for name in tables.names(ADAPTERS):
        snapshot = tables.require(name)
        try:
            recipe = _recorded_recipe(snapshot)
        except ConfigError:  # `foreign_recipes` tells
            continue
        count = sum(map(catalog.holds, snapshot.offsets))
        found.append(RecipeRecord(recipe, snapshot.metadata["base"], recorded_layout(snapshot), count))
    return sorted(found, key=lambda record: (record.base, record.recipe.id))


def foreign_recipes(tables: Tables) -> dict[str, str]:
    """Returns `recipe id @ base` -> why, for recipes whose settings are not those of this version."""
    reasons = {}
    for snapshot in map(tables.require, tables.names(ADAPTERS)):
        try:
            _recorded_recipe(snapshot)
        except ConfigError as error:
            reasons["{recipe_id} @ {base}".format(**snapshot.metadata)] = str(error)
    return reasons


def _recorded_recipe(snapshot: Snapshot) -> Recipe:
    """Returns the recipe with which a table was created.

    Raises:
        ConfigError: it was written by a version with other settings, so that it means something else here.
    """
    recorded_id = snapshot.metadata["recipe_id"]
    recipe = parse_recipe(json.loads(snapshot.metadata["recipe"]), source=f"recipe {recorded_id}")
    if recipe.id != recorded_id:
        raise ConfigError(
            f"recipe {recorded_id}: has other settings in this version, where its id would be {recipe.id}"
        )
    return recipe


def gather(
    tables: Tables, catalog: Catalog, cache: RowCache, passage_ids: Sequence[str], base: str, recipe_id: str
) -> np.ndarray:
    """Returns the rows of the passages, float32 [k, P], in the order asked."""
    snapshot = require(tables, base, recipe_id)
    missing = [key for key in passage_ids if not (catalog.holds(key) and key in snapshot.offsets)]
    if missing:
        raise NotFoundError(
            f"{len(missing)} of {len(passage_ids)} passages have no adapter under recipe {recipe_id!r}: "
            f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}; encode the collection"
        )
    layout = recorded_layout(snapshot)
    rows = np.empty((len(passage_ids), layout.size), dtype=np.float32)
    name = table_name(base, recipe_id)
    absent: dict[str, list[int]] = {}
    for position, key in enumerate(passage_ids):
        row = cache.get((name, int(snapshot.addresses[snapshot.offsets[key]])))
        if row is None:
            absent.setdefault(key, []).append(position)
        else:
            rows[position] = row
    for key, positions in absent.items():
        # One by one: three rows of 1.5 MB cost Lance 2 ms of CPU that way, and 12 ms in one call.
        stored = snapshot.take([key], ["dtype", "row"])
        row = decode(stored["row"][0].as_buffer(), layout, stored["dtype"][0].as_py())
        rows[positions] = row
        cache.put((name, int(snapshot.addresses[snapshot.offsets[key]])), row)
    return rows


def adapter(
    tables: Tables, catalog: Catalog, cache: RowCache, passage_id: str, base: str | None, recipe_id: str | None
) -> Adapter:
    """Returns one adapter; base and recipe may be left out where only one fits."""
    fitting = []
    for name in tables.names(ADAPTERS):
        snapshot = tables.require(name)
        its_base, its_recipe = snapshot.metadata["base"], snapshot.metadata["recipe_id"]
        asked = (base or its_base) == its_base and (recipe_id or its_recipe) == its_recipe
        if asked and passage_id in snapshot.offsets and catalog.holds(passage_id):
            fitting.append((its_base, its_recipe, snapshot))
    if not fitting:
        under = "".join(f" {word} {value!r}" for word, value in (("base", base), ("recipe", recipe_id)) if value)
        raise NotFoundError(
            f"passage {passage_id!r} has no adapter{' under' + under if under else ''}; encode it first"
        )
    if len(fitting) > 1:
        options = ", ".join(f"(base {its_base!r}, recipe {its_recipe!r})" for its_base, its_recipe, _ in fitting)
        raise ConfigError(f"passage {passage_id!r} has {len(fitting)} adapters; name base and recipe, one of {options}")
    its_base, its_recipe, snapshot = fitting[0]
    row = gather(tables, catalog, cache, [passage_id], its_base, its_recipe)[0]
    stats = json.loads(column(snapshot.take([passage_id], ["stats"]), "stats")[0])
    return Adapter(AdapterKey(passage_id, its_base, its_recipe), row, recorded_layout(snapshot), stats)


def drop_forgotten(tables: Tables, cache: RowCache) -> None:
    """Drops cached rows that are no longer stored."""
    stored = {(name, int(address)) for name in tables.names(ADAPTERS) for address in tables.require(name).addresses}
    cache.drop(lambda key: key not in stored)


def _check_layout(recorded: AdapterLayout, given: AdapterLayout, recipe_id: str) -> None:
    if recorded != given:
        raise MismatchError(
            f"recipe {recipe_id!r} is recorded with layout {recorded.id} ({_shape(recorded)}), got layout {given.id} "
            f"({_shape(given)}): the adapters belong to another recipe or base model"
        )


def _shape(layout: AdapterLayout) -> str:
    modules = "/".join(module.name for module in layout.modules)
    return f"rank {layout.rank}, alpha {layout.alpha:g}, {len(layout.layers)} layers, {modules}, {layout.size} numbers"
