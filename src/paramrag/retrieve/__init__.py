"""Query to hits. A retriever is anything that can be called as `retriever(query, k)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError, did_you_mean
from .dense import DEFAULT_MODEL, Dense, Encoder, dense
from .hybrid import hybrid
from .lexical import bm25
from .protocol import Retriever

if TYPE_CHECKING:
    from ..store.collection import Collection

__all__ = ["DEFAULT_MODEL", "Dense", "Encoder", "Retriever", "bm25", "dense", "hybrid", "retriever"]


def retriever(spec: str | Retriever, collection: Collection) -> Retriever:
    """Returns the retriever that a spec names: `bm25`, `dense`, `dense:MODEL`, `hybrid`, `hybrid:MODEL`.

    A callable is returned as it is.

    Raises:
        ConfigError: unknown spec, or the model cannot be loaded.
    """
    if not isinstance(spec, str):
        if not callable(spec):
            raise ConfigError(f"retriever is a {type(spec).__name__}; expected a spec or a function of (query, k)")
        return spec
    kind, colon, model = spec.partition(":")
    if colon and (kind == "bm25" or not model):
        raise ConfigError(f"retriever {spec!r}: expected bm25, dense, dense:MODEL, hybrid or hybrid:MODEL")
    if kind == "bm25":
        return bm25(collection)
    if kind == "dense":
        return dense(collection, model or DEFAULT_MODEL)
    if kind == "hybrid":
        return hybrid(bm25(collection), dense(collection, model or DEFAULT_MODEL))
    raise ConfigError(f"unknown retriever {spec!r}: {did_you_mean(kind, ('bm25', 'dense', 'hybrid'))}")
