"""Keys and values that an adapter is made of, as many as there are, and cut to its rank.

Shapes: N passages, L layers, C factors, r rank, d key width, I inner width, D model width, P numbers per row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from ...store.layout import AdapterLayout


@dataclass(frozen=True, slots=True)
class Factors:
    """Of down_proj, for some passages."""

    a: torch.Tensor
    """Keys [N, L, C, d]."""
    b: torch.Tensor
    """Values [N, L, C, D]."""
    coordinates: torch.Tensor | None = None
    """What keys are compared with, of inner activations [L, d, I]; None: these themselves."""

    @classmethod
    def of(cls, layout: AdapterLayout, rows: torch.Tensor) -> Factors:
        """Returns those of rows [N, P]."""
        return cls(*layout.views(rows)["down_proj"])

    def seen(self, inner_MLI: torch.Tensor) -> torch.Tensor:
        """Returns what keys are compared with [M, L, d]."""
        return inner_MLI if self.coordinates is None else torch.einsum("mli,ldi->mld", inner_MLI, self.coordinates)

    def rows(self) -> torch.Tensor:
        """Returns adapter rows [N, P] of as many factors as there are."""
        a = self.a if self.coordinates is None else torch.einsum("nlcd,ldi->nlci", self.a, self.coordinates)
        return torch.cat([a.flatten(1), self.b.flatten(1)], 1)


def cut(a: torch.Tensor, b: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the best factors of so small a rank: keys [N, L, r, d] of size one, values [N, L, r, D].

    Best for activations of size one in every direction, which is what keys are compared with. Gradients go through
    what is kept, not through the choice, which has none where directions count alike.
    """
    update = a.transpose(-1, -2) @ b
    with torch.no_grad():
        _, vectors = torch.linalg.eigh(update @ update.transpose(-1, -2))
    key = vectors[..., -min(rank, vectors.shape[-1]) :]
    value = key.transpose(-1, -2) @ update
    missing = (0, 0, 0, max(0, rank - key.shape[-1]))
    return functional.pad(key.transpose(-1, -2), missing), functional.pad(value, missing)
