"""The last layer's adapter in closed form: the least change after which a passage's items are answered.

What the last layer adds goes straight to the output, so at each label the state before the final norm can be moved by
itself, just until the label is likely. The keys that tell these places apart are inner activations of size one in every
direction, and the update that makes the moves is a ridge regression on them: of all that do, it changes answers to
other questions least (MEMIT, arXiv 2210.07229, eq. 14, whose covariance is the whitening here). A step does both, from
wherever the factors are; what ridge and rank leave undone, the next one does.

Shapes: M labels, d key width, D model width, r rank.
"""

from __future__ import annotations

import math

import torch

from .direct import DirectBatch
from .factors import Factors, cut

LIKELY = 0.95
"""What a label's probability shall be at least."""
RIDGE = 0.03
"""Of the mean size of the keys."""
ITERATIONS = 20
"""Of L-BFGS on the moves, at most."""
UNIT = 10.0
"""A move's numbers are searched in this unit, about what is needed, so that the first step is of some use."""


def solved(batch: DirectBatch, factors: Factors, scale: float, rank: int, steps: int) -> Factors:
    """Returns factors [1, 1, r, ...] of the one passage of a batch after some steps from those given."""
    a_Cd, b_CD = factors.a[0, 0], factors.b[0, 0]
    seen_Md = factors.seen(batch.inner)[:, 0]
    for _ in range(steps):
        states_MD = batch.final + scale * (seen_Md @ a_Cd.T) @ b_CD
        alike_MM = seen_Md @ seen_Md.T
        ridge = RIDGE * alike_MM.diagonal().mean()
        moves_MD = torch.linalg.solve(
            alike_MM + ridge * torch.eye(len(alike_MM), device=alike_MM.device), _moves(batch, states_MD) / scale
        )
        joined = torch.cat([a_Cd, seen_Md])[None, None], torch.cat([b_CD, moves_MD])[None, None]
        a_Cd, b_CD = (factor[0, 0] for factor in cut(*joined, rank))
    return Factors(a_Cd[None, None], b_CD[None, None], factors.coordinates)


def _moves(batch: DirectBatch, states_MD: torch.Tensor) -> torch.Tensor:
    """Returns how states have to be moved until labels are likely, those that are not moved at all [M, D]."""
    moves_MD = torch.zeros_like(states_MD).requires_grad_(True)
    optimizer = torch.optim.LBFGS([moves_MD], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def missing() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (batch.nll(states_MD + UNIT * moves_MD) + math.log(LIKELY)).relu().sum()
        torch.autograd.backward(loss)
        return loss

    with torch.enable_grad():
        optimizer.step(missing)  # type: ignore[no-untyped-call]
    return UNIT * moves_MD.detach()
