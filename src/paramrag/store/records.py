"""What the collection tells about itself: reports of its verbs, and records of what it holds. Plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..config import Recipe
from .layout import AdapterLayout

if TYPE_CHECKING:
    from ..corpus import Skipped


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A document of the collection."""

    id: str
    """Stable name of the source."""
    title: str
    """Its title."""
    fingerprint: str
    """Content hash of the source and of how it was cut."""
    passage_ids: tuple[str, ...]
    """Its passages, in reading order."""


@dataclass(frozen=True, slots=True)
class RecipeRecord:
    """A recipe under which the collection holds, or may hold, adapters."""

    recipe: Recipe
    """The recipe."""
    base: str
    """Fingerprint of the base model."""
    layout: AdapterLayout
    """How its adapter rows are laid out."""
    adapters: int
    """How many passages have one."""


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `Collection.add` did; all but `passages` and `skipped` count documents."""

    added: int = 0
    """New documents."""
    replaced: int = 0
    """Documents whose content had changed."""
    unchanged: int = 0
    """Documents that were there already."""
    passages: int = 0
    """Passages in the added and replaced documents."""
    removed: int = 0
    """Records that their corpus file, read to its end, no longer holds."""
    skipped: tuple[Skipped, ...] = ()
    """What could not be read, and what the collection keeps of it from before."""


@dataclass(frozen=True, slots=True)
class RemoveReport:
    """What `Collection.remove` forgot."""

    documents: int
    """Documents removed."""
    passages: int
    """Passages that no other document holds."""
    items: int
    """Training items of those passages."""
    adapters: int
    """Adapters of those passages."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Collection.verify` found."""

    documents: int
    """Documents."""
    passages: int
    """Passages held by them."""
    items: int
    """Training items."""
    adapters: int
    """Adapters, each of them decoded."""
    problems: tuple[str, ...]
    """Damage that nothing repairs by itself; one sentence each."""
    unfinished: tuple[str, ...]
    """Traces of an interrupted write; the next write or `compact` clears them."""

    @property
    def ok(self) -> bool:
        """Nothing damaged and nothing unfinished."""
        return not self.problems and not self.unfinished


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What `Collection.compact` gained."""

    bytes_before: int
    """Size on disk before."""
    bytes_after: int
    """Size on disk after."""
    files_before: int
    """Files before."""
    files_after: int
    """Files after."""
    swept: int
    """Rows of interrupted writes that were removed."""


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """How much the collection holds."""

    documents: int
    """Documents."""
    passages: int
    """Passages."""
    items: int
    """Training items."""
    adapters: int
    """Adapters, over all recipes."""
    size_bytes: int
    """Size on disk, old versions included."""
    cache_bytes: int
    """Decoded adapter rows in memory."""
    recipes: Mapping[str, int] = field(default_factory=dict)
    """`recipe id @ base fingerprint` -> adapters."""
