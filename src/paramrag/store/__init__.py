"""The collection on disk: documents, passages, training items, adapters and the search index. Never imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layout import AdapterLayout, Block
from .records import (
    AddReport,
    CollectionStats,
    CompactReport,
    DocumentRecord,
    RecipeRecord,
    RemoveReport,
    VerifyReport,
)

if TYPE_CHECKING:
    from .collection import Collection

__all__ = [
    "AdapterLayout",
    "AddReport",
    "Block",
    "Collection",
    "CollectionStats",
    "CompactReport",
    "DocumentRecord",
    "RecipeRecord",
    "RemoveReport",
    "VerifyReport",
]


def __getattr__(name: str) -> Any:
    if name == "Collection":  # brings Lance with it
        from .collection import Collection

        return Collection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
