"""Parametric knowledge score: how much each feed-forward block changes what the model is about to say.

At every position that predicts a response token the residual stream before the block (h_mid) and after it (h_out) is
read through the logit lens q(h) = softmax(head(norm(h))), with the model's final norm, once. The score of a layer is
the mean over these positions of the Jensen-Shannon divergence between the two, in nats, between 0 and ln 2
(ReDeEP, arXiv 2410.11414, sec. 3; arXiv 2510.12668, sec. 5).

ReDeEP's published code computes something else under that name: (KL(M||P) + KL(M||Q)) / 2 with M = (P + Q) / 2, the
arguments of the divergence exchanged, which has no upper bound. It is given beside the score as `redeep_compat`,
summed over the vocabulary; their token-level script takes the mean over it times 10^6, that is this times 10^6 / V.

Shapes: R rows, N response tokens, L layers, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..models import BaseModel
from ..types import Injection
from .forcing import Forced, chunk_positions, chunks
from .residual import watched


@dataclass(frozen=True, slots=True)
class Divergences:
    """Two distances between distributions, per layer and response token."""

    jsd: np.ndarray
    """Jensen-Shannon divergence in nats, float64 [L, N]."""
    redeep_compat: np.ndarray
    """What ReDeEP's code computes, in nats, float64 [L, N]."""


def divergences(logits_p_NV: torch.Tensor, logits_q_NV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the Jensen-Shannon divergence of softmax(p) and softmax(q), and ReDeEP's variant, each in nats [N]."""
    log_p, log_q = logits_p_NV.float().log_softmax(-1), logits_q_NV.float().log_softmax(-1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    # both divergences together, token by token: every term is then at least 0 and none cancels another
    jsd = (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(-1) / 2
    swapped = (log_m.exp() * (log_m - (log_p + log_q) / 2)).sum(-1)
    return jsd.clamp(0.0, math.log(2)), swapped.clamp(min=0.0)


def pks(
    base: BaseModel, prompt_ids: Sequence[int], response_ids: Sequence[int], injection: Injection | None = None
) -> Divergences:
    """Returns the score of every layer at every response token: the stream before its feed-forward block against after.

    Memory is that of one layer's states and a few million logits, however long the response and however deep the model.
    """
    collected = _Collector(base, len(response_ids), [(0, 1)])

    def visit(layer: int, mid_RND: torch.Tensor, out_RND: torch.Tensor) -> None:
        collected.add(layer, torch.cat([mid_RND, out_RND]))

    Forced(base, prompt_ids, [injection]).run(response_ids, watched(base, visit))
    return collected.found()[0]


def state_change(
    base: BaseModel, prompt_ids: Sequence[int], response_ids: Sequence[int], injection: Injection
) -> Divergences:
    """Returns what the injection changes at equal input: the lens of each layer's output without it against with it."""
    return pks_and_change(base, prompt_ids, response_ids, injection)[1]


def pks_and_change(
    base: BaseModel, prompt_ids: Sequence[int], response_ids: Sequence[int], injection: Injection
) -> tuple[Divergences, Divergences]:
    """Returns `pks` with the injection and `state_change`, from one reading of the prompt."""
    collected = _Collector(base, len(response_ids), [(0, 1), (2, 1)])

    def visit(layer: int, mid_RND: torch.Tensor, out_RND: torch.Tensor) -> None:
        collected.add(layer, torch.stack([mid_RND[1], out_RND[1], out_RND[0]]))

    Forced(base, prompt_ids, [None, injection]).run(response_ids, watched(base, visit))
    scores, changes = collected.found()
    return scores, changes


class _Collector:
    """Compares states layer by layer and keeps only the distances.

    Positions of several layers wait until a chunk is full: reading the head's weights costs more than a few positions.
    """

    def __init__(self, base: BaseModel, count: int, pairs: Sequence[tuple[int, int]]) -> None:
        self._base, self._pairs = base, pairs
        self._found = np.full((len(pairs), 2, base.layer_count, count), np.nan)
        self._waiting: list[tuple[int, slice, torch.Tensor]] = []
        self._room = chunk_positions(base)

    def add(self, layer: int, states_SND: torch.Tensor) -> None:
        for part in chunks(states_SND.shape[1], self._base):
            held = sum(states.shape[1] for _, _, states in self._waiting)
            if held + part.stop - part.start > self._room:
                self._compare()
            self._waiting.append((layer, part, states_SND[:, part]))

    def found(self) -> list[Divergences]:
        self._compare()
        return [Divergences(jsd, redeep) for jsd, redeep in self._found]

    def _compare(self) -> None:
        if not self._waiting:
            return
        states_SnD = torch.cat([states for _, _, states in self._waiting], dim=1)
        logits_SnV = [self._base.head(states_nD) for states_nD in states_SnD]
        for found, (one, other) in zip(self._found, self._pairs, strict=True):
            distances = [distance.cpu().numpy() for distance in divergences(logits_SnV[one], logits_SnV[other])]
            start = 0
            for layer, part, states in self._waiting:
                stop = start + states.shape[1]
                for kind, distance_n in zip(found, distances, strict=True):
                    kind[layer, part] = distance_n[start:stop]
                start = stop
        self._waiting.clear()
