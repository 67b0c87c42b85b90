"""Dense vectors of passages: one table per embedding model, so that no passage is embedded twice.

Shapes: N passages, D dimensions. Search is exact, over all N at once in memory; at 256 dimensions a million passages
are 1 GB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ..errors import ConfigError, MismatchError
from ..types import content_hash
from .catalog import Catalog
from .tables import VECTORS, Tables, column


def table_name(model: str) -> str:
    """Returns the name of the table that holds the vectors of a model."""
    return VECTORS + content_hash(model)


def put(tables: Tables, catalog: Catalog, model: str, passage_ids: Sequence[str], vectors: np.ndarray) -> None:
    """Stores vectors [N, D] in one commit; passages that have gone meanwhile are left out."""
    if vectors.ndim != 2 or len(vectors) != len(passage_ids):
        raise ConfigError(f"{len(passage_ids)} passages, but vectors of shape {vectors.shape}; expected one row each")
    if not np.isfinite(vectors).all():
        raise ConfigError(f"embedding model {model!r} gave vectors with numbers that are not finite")
    width = vectors.shape[1]
    schema = pa.schema([("passage_id", pa.string()), ("vector", pa.list_(pa.float32(), width))])
    tables.create(table_name(model), schema, {"model": model, "width": str(width)})
    stored_width = int(tables.require(table_name(model)).metadata["width"])
    if width != stored_width:
        raise MismatchError(
            f"embedding model {model!r} gave {width} dimensions, its stored vectors have {stored_width}"
        )
    live = {key: row for row, key in enumerate(passage_ids) if catalog.holds(key)}
    if live:
        flat = np.ascontiguousarray(vectors[list(live.values())], dtype=np.float32).ravel()
        arrays = [pa.array(list(live)), pa.FixedSizeListArray.from_arrays(pa.array(flat), width)]
        tables.upsert(table_name(model), pa.Table.from_arrays(arrays, schema=schema))


def get(tables: Tables, catalog: Catalog, model: str) -> tuple[list[str], np.ndarray]:
    """Returns the passages that have a vector, and the vectors, float32 [N, D]."""
    snapshot = tables.snapshot(table_name(model))
    if snapshot is None:
        return [], np.empty((0, 0), dtype=np.float32)
    table = snapshot.dataset.to_table().combine_chunks()
    width = int(snapshot.metadata["width"])
    ids = column(table, "passage_id")
    flat = table["vector"].combine_chunks().flatten() if ids else pa.array([], pa.float32())
    vectors = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float32).reshape(-1, width)
    live = [row for row, key in enumerate(ids) if catalog.holds(key)]
    return [ids[row] for row in live], vectors[live]
