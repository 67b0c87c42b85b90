"""The answer loss with updates carried straight to the output: thousands of steps for the price of a few exact ones.

In the residual stream, what down_proj of layer l adds to a token is in the last layer's output, beside what later
layers make of it. Leaving the latter out, the logits under an adapter are head(final + scale * sum_l B_l.T A_l
inner_l), where `final` and `inner` are the base model's and are read once (`examples`). For the last layer this is
exact. It reaches down_proj alone; the exact loss (`exact`) trains everything.

Shapes: N passages of a batch, P numbers per row, M labels, n items, L layers, r rank, I inner width, D model width,
K candidate tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ...models import BaseModel
from ...store.layout import AdapterLayout
from .examples import Example
from .reading import Readings

LEAST_REST = 1e-6
"""Share of the base model's mass that is left to tokens that are no candidates, at least."""


class DirectBatch:
    """Passages whose answers can be tried under any adapters, from the traces alone."""

    @torch.no_grad()
    def __init__(self, base: BaseModel, layout: AdapterLayout, batch: Sequence[Example]) -> None:
        """Joins traces; candidates are their labels, the tokens of the passages, and what the base finds likely."""
        self._base, self._layout = base, layout
        traces = [example.traces for example in batch]
        device = base.device
        self.readings = Readings.of([example.reading for example in batch], device)
        self.count, self.items = len(batch), sum(len(example.items) for example in batch)
        labels = torch.cat([one.labels for one in traces]).to(device)
        likely = torch.cat([one.likely.flatten() for one in traces]).to(device)
        self._candidates_K = torch.unique(torch.cat([labels, likely, self.readings.ids[self.readings.mask]]))
        number = torch.full((base.model.get_output_embeddings().weight.shape[0],), -1, device=device)
        number[self._candidates_K] = torch.arange(len(self._candidates_K), device=device)
        self._labels_M = number[labels]
        offsets = torch.tensor([0, *(len(example.items) for example in batch)]).cumsum(0)
        self._owners_M = torch.cat([one.owners + offsets[at] for at, one in enumerate(traces)]).to(device)
        self._counts = [len(one.labels) for one in traces]
        self._inner_MLI = torch.cat([one.inner for one in traces]).to(device, torch.float32)
        self._final_MD = torch.cat([one.final for one in traces]).to(device)
        mass_M = torch.cat([one.mass for one in traces]).to(device)
        known_M = self._logits(self._final_MD).logsumexp(-1)
        self._rest_M = mass_M + (1 - (known_M - mass_M).exp()).clamp(min=LEAST_REST).log()

    def pieces(self) -> Iterator[DirectBatch]:
        """Yields itself: it is small enough to run at once."""
        yield self

    def losses(self, rows: torch.Tensor, shift: int = 0, beside: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns each item's loss, mean over its labels, and that of its worst label, both [n].

        Args:
            rows: adapters of the batch's passages [N, P].
            shift: give each passage the adapter of the passage so many places further.
            beside: add the adapter of the passage so many places further; 0: none.
        """
        a_NLrI, b_NLrD = self._layout.views(rows)["down_proj"]
        added = []
        for at, inner_mLI in enumerate(torch.split(self._inner_MLI, self._counts)):
            of = [(at + step) % self.count for step in ([shift, beside] if beside else [shift])]
            reduced = (torch.einsum("mli,lri->mlr", inner_mLI, a_NLrI[one]) for one in of)
            added.append(sum(torch.einsum("mlr,lrd->md", r, b_NLrD[one]) for r, one in zip(reduced, of, strict=True)))
        logits_MK = self._logits(self._final_MD + self._layout.scale * torch.cat(added))  # type: ignore[arg-type]
        total_M = torch.logaddexp(logits_MK.logsumexp(-1), self._rest_M)
        nll_M = total_M - logits_MK.gather(1, self._labels_M[:, None])[:, 0]
        zeros = torch.zeros(self.items, device=rows.device)
        labels = zeros.index_add(0, self._owners_M, torch.ones_like(nll_M))
        mean = zeros.index_add(0, self._owners_M, nll_M) / labels
        return mean, zeros.scatter_reduce(0, self._owners_M, nll_M, "amax")

    def _logits(self, states_MD: torch.Tensor) -> torch.Tensor:
        return self._base.head(states_MD.to(self._base.dtype), tokens=self._candidates_K).float()
