"""Where each factor of an adapter stands in its flat row. Works on numpy arrays and torch tensors alike.

Shapes: L adapted layers, r rank, P numbers in a row, `in`/`out` widths of a projection.

A row is, module by module, the block A [L, r, in] followed by the block B [L, r, out] (B transposed against the
PEFT convention [out, r], so that adapters concatenate along r in both factors). The update of a module in a layer
is `scale * B.T @ A` with `scale = alpha / rank`; the scale is not folded into the stored numbers. All layers of a
module stand together, so combining k rows takes a handful of array operations for the whole model, not per layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

from ..errors import MismatchError
from ..types import ModuleShape, content_hash

Array = TypeVar("Array", bound=Any)  # np.ndarray or torch.Tensor: both slice and reshape


class Block(NamedTuple):
    """A slice of the row and the shape it unfolds to."""

    module: str
    factor: str  # "a" or "b"
    start: int
    shape: tuple[int, int, int]

    @property
    def stop(self) -> int:
        return self.start + self.shape[0] * self.shape[1] * self.shape[2]


@dataclass(frozen=True, slots=True)
class AdapterLayout:
    """Describes a flat adapter row; equal layouts are interchangeable."""

    layers: tuple[int, ...]
    """Adapted layers of the base model, ascending."""
    modules: tuple[ModuleShape, ...]
    """Adapted projections, in row order."""
    rank: int
    """Rank of each update."""
    alpha: float
    """LoRA alpha; the update is scaled by alpha / rank."""

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    @property
    def size(self) -> int:
        """P: how many numbers a row has."""
        return len(self.layers) * self.rank * sum(m.in_features + m.out_features for m in self.modules)

    @property
    def id(self) -> str:
        """Content hash of the layout."""
        return content_hash(repr(asdict(self)), length=12)

    def blocks(self) -> Iterator[Block]:
        """Yields the blocks in row order."""
        start = 0
        for module in self.modules:
            for factor, width in (("a", module.in_features), ("b", module.out_features)):
                block = Block(module.name, factor, start, (len(self.layers), self.rank, width))
                yield block
                start = block.stop

    def views(self, rows: Array) -> dict[str, tuple[Array, Array]]:
        """Unfolds rows [..., P] into {module: (A [..., L, r, in], B [..., L, r, out])} without copying."""
        if rows.shape[-1] != self.size:
            raise MismatchError(
                f"adapter row has {rows.shape[-1]} numbers, its layout {self.size} "
                f"(rank {self.rank}, {len(self.layers)} layers): the row belongs to another recipe or model"
            )
        lead = tuple(rows.shape[:-1])
        found: dict[str, dict[str, Array]] = {}
        for block in self.blocks():
            found.setdefault(block.module, {})[block.factor] = rows[..., block.start : block.stop].reshape(
                *lead, *block.shape
            )
        return {name: (pair["a"], pair["b"]) for name, pair in found.items()}

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object from which `from_json` makes an equal layout."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> AdapterLayout:
        """Reads what `to_json` wrote."""
        return cls(
            layers=tuple(data["layers"]),
            modules=tuple(ModuleShape(**module) for module in data["modules"]),
            rank=data["rank"],
            alpha=data["alpha"],
        )
