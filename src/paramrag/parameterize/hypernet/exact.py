"""The answer loss as it is when adapters are used: through the adapted layers, for whole batches of predicted rows.

Shapes: N passages of a batch, P numbers per row, n items of a piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ...config import Recipe
from ...infer.injection import BatchFactors, injected
from ...models import BaseModel
from ...store.layout import AdapterLayout
from ..contexts import Contexts
from ..replay import Replay
from ..sequences import sequences
from ..teacher import lessons
from ..trainer import objective
from .examples import CONTEXT_TOKENS, TAIL_ROWS, Example
from .reading import Readings


class ExactBatch:
    """Passages whose answers can be tried under any adapters."""

    def __init__(
        self,
        base: BaseModel,
        recipe: Recipe,
        layout: AdapterLayout,
        batch: Sequence[Example],
        beneath: BatchFactors | None,
    ) -> None:
        """Reads the questions, once."""
        self.readings = Readings.of(base, [example.reading for example in batch])
        self.count = len(batch)
        made = [sequences(base, recipe, example.passage, example.items) for example in batch]
        limit = 1 if recipe.training_set == "prag" else None  # DyPRAG's code takes the first sequence of a passage
        numbered = [(at, one) for at, own in enumerate(made) for one in own[:limit]]
        numbered.sort(key=lambda entry: len(entry[1].tail))
        self.items = len(numbered)
        contexts = Contexts(base, (one.context for _, one in numbered), CONTEXT_TOKENS)
        self._pieces = []
        for start in range(0, len(numbered), TAIL_ROWS):
            group = [one for _, one in numbered[start : start + TAIL_ROWS]]
            taught = lessons(base, group, layout.layers, CONTEXT_TOKENS) if recipe.taught else []
            with injected(base, beneath):
                replay = Replay(base, group, layout.layers, contexts, taught)
            owners = torch.tensor([at for at, _ in numbered[start : start + TAIL_ROWS]], device=base.device)
            self._pieces.append(ExactPiece(base, recipe, layout, replay, owners, beneath))

    def pieces(self) -> Iterator[ExactPiece]:
        """Yields parts that run at once."""
        yield from self._pieces


class ExactPiece:
    """Items of similar length."""

    def __init__(
        self,
        base: BaseModel,
        recipe: Recipe,
        layout: AdapterLayout,
        replay: Replay,
        owners: torch.Tensor,
        beneath: BatchFactors | None,
    ) -> None:
        self._base, self._recipe, self._layout, self._replay = base, recipe, layout, replay
        self._owners, self._beneath = owners, beneath

    def losses(self, rows: torch.Tensor, shift: int = 0, beside: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns each item's loss, mean over its labels, and that of its worst label, both [n].

        Args:
            rows: adapters of the batch's passages [N, P].
            shift: give each passage the adapter of the passage so many places further.
            beside: add the adapter of the passage so many places further; 0: none.
        """
        count = len(self._owners)
        factors = _factors(self._layout, rows, (self._owners + shift) % len(rows), self._base.dtype)
        if beside:
            other = _factors(self._layout, rows, (self._owners + beside) % len(rows), self._base.dtype)
            factors = _both(factors, other)
        with injected(self._base, self._beneath), injected(self._base, factors):
            found = self._replay.losses(torch.arange(count, device=rows.device))
        zeros = torch.zeros(count, device=rows.device)
        labels = zeros.index_add(0, found.owners, torch.ones_like(found.nll))
        mean = zeros.index_add(0, found.owners, objective(self._recipe, found)) / labels
        return mean, zeros.scatter_reduce(0, found.owners, found.nll, "amax")


def _factors(layout: AdapterLayout, rows: torch.Tensor, owners: torch.Tensor, dtype: torch.dtype) -> BatchFactors:
    views = layout.views(rows)
    return BatchFactors(
        layout.layers,
        {name: a_NLrI[owners].transpose(0, 1).to(dtype) for name, (a_NLrI, _) in views.items()},
        {name: (b_NLrO[owners] * layout.scale).transpose(0, 1).to(dtype) for name, (_, b_NLrO) in views.items()},
    )


def _both(first: BatchFactors, second: BatchFactors) -> BatchFactors:
    """Returns the sum of two injections of the same layers and modules, row by row."""
    return BatchFactors(
        first.layers,
        {name: torch.cat([a, second.a[name]], 2) for name, a in first.a.items()},
        {name: torch.cat([b, second.b[name]], 2) for name, b in first.b.items()},
    )
