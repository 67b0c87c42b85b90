"""The answer loss with updates carried straight to the output: thousands of steps for the price of a few exact ones.

In the residual stream, what down_proj of layer l adds to a token is in the last layer's output, beside what later
layers make of it. Leaving the latter out, the logits under an adapter are head(final + scale * sum_l B_l.T A_l
inner_l), where `final` and `inner` are the base model's and are read once (`examples`). For the last layer this is
exact. It reaches down_proj alone; the exact loss (`exact`) trains everything.

Shapes: N passages of a batch, P numbers per row, M labels, n items, L layers, r rank, I inner width, D model width,
K candidate tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...models import BaseModel
from ...store.layout import AdapterLayout
from .examples import Example
from .factors import Factors
from .reading import Readings

LEAST_REST = 1e-6
"""Share of the base model's mass that is left to tokens that are no candidates, at least."""


class DirectBatch:
    """Passages whose answers can be tried under any adapters, from the traces alone."""

    inner: torch.Tensor
    """Input of down_proj at every label, float32 [M, L, I]."""
    final: torch.Tensor
    """Output of the last layer there, float32 [M, D]."""

    @torch.no_grad()
    def __init__(self, base: BaseModel, layout: AdapterLayout, batch: Sequence[Example]) -> None:
        """Joins traces; candidates are their labels, the tokens of the passages, and what the base finds likely."""
        self._base, self._layout = base, layout
        traces = [example.traces for example in batch]
        device = base.device
        self.readings = Readings.of(base, [example.reading for example in batch])
        self.count, self.items = len(batch), sum(len(example.items) for example in batch)
        labels = torch.cat([one.labels for one in traces]).to(device)
        likely = torch.cat([one.likely.flatten() for one in traces]).to(device)
        self._candidates_K = torch.unique(torch.cat([labels, likely, self.readings.tokens()]))
        number = torch.full((base.model.get_output_embeddings().weight.shape[0],), -1, device=device)
        number[self._candidates_K] = torch.arange(len(self._candidates_K), device=device)
        self._labels_M = number[labels]
        offsets = torch.tensor([0, *(len(example.items) for example in batch)]).cumsum(0)
        self._owners_M = torch.cat([one.owners + offsets[at] for at, one in enumerate(traces)]).to(device)
        self._counts = [len(one.labels) for one in traces]
        self.inner = torch.cat([one.inner for one in traces]).to(device, torch.float32)
        self.final = torch.cat([one.final for one in traces]).to(device)
        mass_M = torch.cat([one.mass for one in traces]).to(device)
        known_M = self._logits(self.final).logsumexp(-1)
        self._rest_M = mass_M + (1 - (known_M - mass_M).exp()).clamp(min=LEAST_REST).log()

    def losses(self, factors: Factors, shift: int = 0, beside: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns each item's loss, mean over its labels, and that of its worst label, both [n].

        Args:
            factors: of the batch's passages.
            shift: give each passage the adapter of the passage so many places further.
            beside: add the adapter of the passage so many places further; 0: none.
        """
        a_NLCd, b_NLCD = factors.a.unbind(0), factors.b.unbind(0)
        added = []
        for at, seen_mLd in enumerate(torch.split(factors.seen(self.inner), self._counts)):
            of = [(at + step) % self.count for step in ([shift, beside] if beside else [shift])]
            agreed = (torch.einsum("mld,lcd->mlc", seen_mLd, a_NLCd[one]) for one in of)
            added.append(sum(torch.einsum("mlc,lcd->md", c, b_NLCD[one]) for c, one in zip(agreed, of, strict=True)))
        nll_M = self.nll(self.final + self._layout.scale * torch.cat(added))  # type: ignore[arg-type]
        zeros = torch.zeros(self.items, device=nll_M.device)
        labels = zeros.index_add(0, self._owners_M, torch.ones_like(nll_M))
        mean = zeros.index_add(0, self._owners_M, nll_M) / labels
        return mean, zeros.scatter_reduce(0, self._owners_M, nll_M, "amax")

    def nll(self, states_MD: torch.Tensor) -> torch.Tensor:
        """Returns the loss of each label [M] at states before the final norm, in nats."""
        logits_MK = self._logits(states_MD)
        total_M = torch.logaddexp(logits_MK.logsumexp(-1), self._rest_M)
        return total_M - logits_MK.gather(1, self._labels_M[:, None])[:, 0]

    def _logits(self, states_MD: torch.Tensor) -> torch.Tensor:
        return self._base.head(states_MD.to(self._base.dtype), tokens=self._candidates_K).float()
