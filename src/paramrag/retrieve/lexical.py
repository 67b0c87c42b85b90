"""BM25 by the index of the collection. The default: exact words, no model, always up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .protocol import Retriever

if TYPE_CHECKING:
    from ..store.collection import Collection


def bm25(collection: Collection) -> Retriever:
    """Returns BM25 over a collection (see `store.search` for what is indexed and how)."""
    return collection.search
