"""What the published hypernetwork is taught beside the answers: the factors, and the words, of trained adapters.

DyPRAG (arXiv 2503.23895; code at 8c999be) adds 100 x the sum over factors of the mean squared error to a trained
adapter's, and 0.01 x the divergence from the model with that adapter. Trained factors all lie close to their common
start, so the first is satisfied by one answer for all passages.

Shapes: N passages of a batch, P numbers per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ...config import Recipe
from ...errors import TrainingError
from ...infer import Engine
from ...infer.injection import BatchFactors, injected
from ...types import Adapter, Progress
from ..contexts import Contexts
from ..replay import Replay
from ..sequences import TrainingSequence, sequences
from ..teacher import lessons
from ..trainer import train
from .examples import CONTEXT_TOKENS, Example

TRAINED_TOGETHER = 4
TRAINED_ALPHA = 32.0
"""Of the adapters to imitate (arXiv 2501.15915); what the hypernetwork gives is used without alpha / rank."""


class Imitation:
    """Trained adapters of the passages learnt from."""

    def __init__(self, engine: Engine, recipe: Recipe, targets: dict[str, np.ndarray]) -> None:
        assert recipe.hypernet
        self._engine, self._recipe, self._targets = engine, recipe, targets
        self._layout, self._settings = engine.layout(recipe), recipe.hypernet

    @classmethod
    def of(
        cls, engine: Engine, recipe: Recipe, found: Sequence[Example], folder: Path, progress: Progress | None
    ) -> Imitation | None:
        """Trains the adapters that are not in the folder yet; None where the recipe does not imitate.

        Raises:
            TrainingError: one could not be trained.
        """
        settings = recipe.hypernet
        if settings is None or not (settings.regress_weight or settings.imitate_weight):
            return None
        path = folder / "targets.npz"
        targets = dict(np.load(path)) if path.is_file() else {}
        left = [example for example in found if example.passage.id not in targets]
        for start in range(0, len(left), TRAINED_TOGETHER):
            batch = [(one.passage, one.items) for one in left[start : start + TRAINED_TOGETHER]]
            for made in train(engine.base, recipe, replace(engine.layout(recipe), alpha=TRAINED_ALPHA), batch):
                if not isinstance(made, Adapter):
                    raise TrainingError(f"no adapter to imitate: {made.reason}")
                targets[made.key.passage_id] = made.row
            np.savez(path.with_suffix(".part.npz"), **targets)
            path.with_suffix(".part.npz").replace(path)
            if progress:
                progress("encode", start + len(batch), len(left))
        return cls(engine, recipe, targets)

    def loss(self, members: Sequence[Example], rows: torch.Tensor) -> torch.Tensor:
        """Returns the weighted sum of both terms, over the passages of a batch with adapters `rows` [N, P]."""
        targets = torch.from_numpy(np.stack([self._targets[one.passage.id] for one in members])).to(rows.device)
        total = rows.new_zeros(())
        for block in self._layout.blocks():
            at = slice(block.start, block.stop)
            total = total + self._settings.regress_weight * (rows[:, at] - targets[:, at]).pow(2).mean(1).sum()
        if self._settings.imitate_weight:
            for row, target, example in zip(rows, targets, members, strict=True):
                total = total + self._settings.imitate_weight * self._divergence(row, target, example)
        return total

    def _divergence(self, row: torch.Tensor, target: torch.Tensor, example: Example) -> torch.Tensor:
        base = self._engine.base
        one: list[TrainingSequence] = sequences(base, self._recipe, example.passage, example.items)[:1]
        with injected(base, self._factors(target, TRAINED_ALPHA / self._layout.rank)):
            taught = lessons(base, one, self._layout.layers, CONTEXT_TOKENS)  # no open context: the sequence itself
        replay = Replay(base, one, self._layout.layers, Contexts(base, [one[0].context], CONTEXT_TOKENS), taught)
        with injected(base, self._factors(row, self._layout.scale)):
            found = replay.losses(torch.zeros(1, dtype=torch.long, device=row.device))
        assert found.divergence is not None
        return found.divergence.sum()

    def _factors(self, row: torch.Tensor, scale: float) -> BatchFactors:
        views = self._layout.views(row)
        return BatchFactors(
            self._layout.layers,
            {name: a[:, None] for name, (a, _) in views.items()},
            {name: b[:, None] * scale for name, (_, b) in views.items()},
        )
