"""AdamW (arXiv 1711.05101, algorithm 2) over stacked rows, each with its own life.

Elementwise like torch's, so N rows step as N separate optimisers would; rows can be taken out while the rest go on.
"""

from __future__ import annotations

import torch


class StackedAdamW:
    """One optimiser per row of a parameter [N, P]."""

    def __init__(
        self,
        rows: torch.Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip: float = 0.0,
    ) -> None:
        """Starts from zero moments; `clip` limits each row's gradient norm (0: no limit)."""
        self._betas, self._epsilon, self._weight_decay, self._clip = betas, epsilon, weight_decay, clip
        self._first, self._second = torch.zeros_like(rows), torch.zeros_like(rows)
        self._steps = 0

    @torch.no_grad()
    def step(self, rows: torch.Tensor, gradient: torch.Tensor, rates: torch.Tensor) -> None:
        """Updates `rows` [N, P] in place, each with its own learning rate: `rates` [N]."""
        rates = rates[:, None]
        if self._clip:
            norm = gradient.norm(dim=1, keepdim=True)
            gradient = gradient * (self._clip / (norm + 1e-6)).clamp(max=1.0)
        self._steps += 1
        beta1, beta2 = self._betas
        self._first.lerp_(gradient, 1 - beta1)
        self._second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        rows.mul_(1 - rates * self._weight_decay)
        denominator = (self._second.sqrt() / (1 - beta2**self._steps) ** 0.5).add_(self._epsilon)
        rows.sub_(self._first / denominator * (rates / (1 - beta1**self._steps)))

    def keep(self, rows: torch.Tensor) -> None:
        """Drops all rows but these (row numbers)."""
        self._first, self._second = self._first[rows], self._second[rows]
