"""Held-out passages: are they answered under their own adapter, and not under another passage's?

Shapes: N passages, P numbers per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ...config import Recipe
from ...infer.injection import BatchFactors
from ...models import BaseModel
from ...store.layout import AdapterLayout
from .exact import ExactBatch
from .examples import Example

LIKELY = float(np.log(2))
"""An item is said if no label's loss is above this: then every token of the answer is likelier than all others
together."""
BATCH = 16


@dataclass(frozen=True, slots=True)
class Measured:
    """A hypernetwork on passages it was not trained on."""

    loss: float
    """Mean over items, in nats per label."""
    swapped_loss: float
    """The same under another passage's adapter."""
    said: np.ndarray
    """Which items are said, bool [n]."""
    swapped_said: np.ndarray
    """Which under another passage's adapter, bool [n]."""
    rows: np.ndarray
    """The adapters, float32 [N, P]."""
    mean_cosine: float
    """Mean cosine of the updates of two passages; 1 where all are zero or equal."""
    effective_rank: float
    """Participation ratio of the updates, from 1 (collapse) to N."""
    distance_from_mean: float
    """Mean of |update - mean update| / |update|."""

    def to_json(self) -> dict[str, Any]:
        """Returns all but the rows."""
        return {
            "held_loss": self.loss,
            "swapped_loss": self.swapped_loss,
            "said": float(self.said.mean()),
            "swapped_said": float(self.swapped_said.mean()),
            "n": len(self.said),
            "mean_cosine": self.mean_cosine,
            "effective_rank": self.effective_rank,
            "distance_from_mean": self.distance_from_mean,
        }


class HeldOut:
    """Passages whose questions have been read."""

    def __init__(
        self,
        base: BaseModel,
        recipe: Recipe,
        layout: AdapterLayout,
        held: Sequence[Example],
        beneath: BatchFactors | None,
    ) -> None:
        """Reads the questions."""
        settings = {"training_set": "closed-book", "objective": "nll-answer"}
        weights = {"nll_weight": 1.0, "kl_weight": 0.0, "state_weight": 0.0}
        plain = recipe.model_copy(update=settings | weights)
        self._layout = layout
        self._batches = [
            ExactBatch(base, plain, layout, held[start : start + BATCH], beneath)
            for start in range(0, len(held) - 1, BATCH)
        ]

    @torch.no_grad()
    def measure(self, network: nn.Module) -> Measured:
        """Predicts the adapters, tries each on its own passage's items, then on another's."""
        network.eval()
        rows = [network(batch.readings) for batch in self._batches]
        network.train()
        means: list[list[float]] = []
        said: list[np.ndarray] = []
        for shift in (0, 1):
            found = [
                piece.losses(own, shift)
                for batch, own in zip(self._batches, rows, strict=True)
                for piece in batch.pieces()
            ]
            means.append(torch.cat([mean for mean, _ in found]).tolist())
            said.append(torch.cat([worst for _, worst in found]).numpy(force=True) < LIKELY)
        held = torch.cat(rows).numpy(force=True)
        return Measured(
            float(np.mean(means[0])), float(np.mean(means[1])), said[0], said[1], held, *_geometry(self._layout, held)
        )


def _geometry(layout: AdapterLayout, rows: np.ndarray) -> tuple[float, float, float]:
    from ...analyze.collapse import collapse  # knows pipelines, which know parameterizers

    update = layout.views(rows)
    if not any(np.any(a) and np.any(b) for a, b in update.values()):
        return 1.0, 1.0, 0.0
    found = collapse(layout, rows)
    return found.mean_cosine, found.effective_rank, float(found.distance_from_mean.mean())
