"""External context score: does a head look at what the answer is about?

For every head and every position that predicts a response token: the tenth of the prompt's tokens attended to most, the
mean of their states after the last layer, and the cosine of that mean with the state at the position (ReDeEP, arXiv
2410.11414, sec. 3; its code reads the states after the final norm, and so does this). ReDeEP averages over heads known
to copy; here every head is given.

Shapes: L layers, H query heads, N response tokens, P prompt tokens, D model width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ..models import BaseModel
from ..types import Injection
from .attending import attention_watched
from .forcing import Forced

TOP_SHARE = 0.1
"""Share of the prompt's tokens that count as attended, as in ReDeEP."""


def external_context(
    base: BaseModel, prompt_ids: Sequence[int], response_ids: Sequence[int], injection: Injection | None = None
) -> np.ndarray:
    """Returns the score of every head at every response token, a cosine, float64 [L, H, N]."""
    read: list[torch.Tensor] = []
    forced = Forced(base, prompt_ids, [injection], reading=_states(base, read))
    chosen: list[torch.Tensor] = []  # per layer [H, N, k]: which prompt tokens are attended most
    count = max(1, int(len(prompt_ids) * TOP_SHARE))

    def visit(layer: int, weights_RHNT: torch.Tensor) -> None:
        chosen.append(weights_RHNT[0, :, :, : len(prompt_ids)].topk(count, dim=-1).indices)

    states_ND = forced.run(response_ids, attention_watched(base, visit))[0].float()
    prompt_PD = torch.cat([*(states.float() for states in read), states_ND[:1]])
    scores = [
        torch.nn.functional.cosine_similarity(prompt_PD[at_HNk].mean(-2), states_ND[None], dim=-1) for at_HNk in chosen
    ]
    return torch.stack(scores).double().cpu().numpy()


@contextmanager
def _states(base: BaseModel, found: list[torch.Tensor]) -> Iterator[None]:
    """Collects what leaves the final norm."""

    def leave(_: Any, args: Any, output: torch.Tensor) -> None:
        found.append(output[0])

    handle = base.decoder.norm.register_forward_hook(leave)
    try:
        yield
    finally:
        handle.remove()
