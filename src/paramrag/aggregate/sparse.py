"""TIES and DARE: thin the updates out before adding them, so that adapters get less into each other's way.

Both are defined on the numbers of the dense update scale * B^T A [out, in], and are computed there, one projection
of one layer at a time; thinning A and B apart, as PEFT's `ties` and `dare_linear` do, multiplies cross terms B_i A_j
into the result. What comes out has full rank and is cut back to the best approximation of `rank`, as PEFT's
`ties_svd`, `dare_linear_svd` and `dare_ties_svd` do; k * r if not given, the size of `concat`. This costs far more
than the other rules: a dense matrix per adapter, projection and layer, and a decomposition each.

    ties       keep the `density` largest numbers of each update, let each position elect the sign of its weighted
               sum, and take the weighted mean of the numbers that have it (arXiv 2306.01708, algorithm 1, with the
               threshold per matrix, as in PEFT). Election and mean count weights, so that an adapter fades out with
               its weight; for equal weights both are the paper's.
    dare       keep each number with probability `density`, divide it by `density`, add the weighted updates (arXiv
               2311.03099). What an adapter loses follows from its numbers and `seed` alone.
    dare_ties  thinned as in dare, combined as in ties.

At density 1, `dare` is `svd` at that rank. Truncating to a low rank averages out most of what DARE's drops did: what
comes out is close to the sum.

Shapes: k adapters, L layers, r rank, O out, I in, R rank of the injection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..store.layout import AdapterLayout
from ..types import Activation, Injection
from . import dials
from .rules import counted

DENSITY = 0.2
"""Share of the numbers that TIES keeps in arXiv 2306.01708, and within what arXiv 2311.03099 found harmless to keep."""
_OVERSAMPLING, _POWER_STEPS = 14, 2
"""Of the randomised decomposition: its error is within 0.01 % of the smallest possible on merged updates."""

_Thin = Callable[[np.ndarray], np.ndarray]  # updates [k, O, I] -> the same, with zeros
_Combine = Callable[[np.ndarray, Sequence[float]], np.ndarray]  # updates [k, O, I], weights [k] -> [O, I]


def ties(
    layout: AdapterLayout,
    rows: np.ndarray,
    weights: Sequence[float],
    activation: Activation,
    *,
    density: float = DENSITY,
    rank: int | None = None,
) -> Injection:
    """Returns the TIES merge of the updates: trim, elect a sign, mean of those that have it."""
    share = dials.density(density)
    rows, weights = counted(rows, weights)
    return _merge(layout, rows, weights, activation, rank, lambda updates: trim(updates, share), elect)


def dare(
    layout: AdapterLayout,
    rows: np.ndarray,
    weights: Sequence[float],
    activation: Activation,
    *,
    density: float = DENSITY,
    rank: int | None = None,
    seed: int = 0,
) -> Injection:
    """Returns the weighted sum of the updates, each with numbers dropped at random and the others rescaled."""
    rows, weights = counted(rows, weights)
    return _merge(layout, rows, weights, activation, rank, Dropping(rows, density, seed), add)


def dare_ties(
    layout: AdapterLayout,
    rows: np.ndarray,
    weights: Sequence[float],
    activation: Activation,
    *,
    density: float = DENSITY,
    rank: int | None = None,
    seed: int = 0,
) -> Injection:
    """Returns the updates with numbers dropped at random and the others rescaled, combined as in TIES."""
    rows, weights = counted(rows, weights)
    return _merge(layout, rows, weights, activation, rank, Dropping(rows, density, seed), elect)


def trim(updates_kOI: np.ndarray, density: float) -> np.ndarray:
    """Returns the updates with only the `density` largest magnitudes of each; equals of the smallest kept stay too."""
    magnitudes_kOI = np.abs(updates_kOI)
    flat = magnitudes_kOI.reshape(len(updates_kOI), -1)
    first = flat.shape[1] - max(1, int(density * flat.shape[1]))
    thresholds = np.partition(flat, first, axis=1)[:, first]
    trimmed: np.ndarray = updates_kOI * (magnitudes_kOI >= thresholds[:, None, None])
    return trimmed


def elect(updates_kOI: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Returns, for each position, the weighted mean of the numbers that have the sign of the weighted sum."""
    weights_k = np.asarray(weights, dtype=np.float32)
    weighted_kOI = updates_kOI * weights_k[:, None, None]
    agrees_kOI = weighted_kOI * np.sign(weighted_kOI.sum(axis=0)) > 0
    behind_OI = np.tensordot(np.abs(weights_k), agrees_kOI.astype(np.float32), axes=1)
    total_OI: np.ndarray = np.multiply(weighted_kOI, agrees_kOI, out=weighted_kOI).sum(axis=0)
    np.divide(total_OI, behind_OI, out=total_OI, where=behind_OI > 0)
    return total_OI


def add(updates_kOI: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Returns the weighted sum of the updates."""
    return np.tensordot(np.asarray(weights, dtype=np.float32), updates_kOI, axes=1)


class Dropping:
    """Drops numbers of each adapter's updates by a stream of its own, which its company does not change."""

    def __init__(self, rows: np.ndarray, density: float, seed: int) -> None:
        self._density = np.float32(dials.density(density))
        self._streams = [
            np.random.default_rng([dials.seed(seed), int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8])])
            for row in rows
        ]

    def __call__(self, updates_kOI: np.ndarray) -> np.ndarray:
        if self._density == 1:
            return updates_kOI
        thinned = np.empty_like(updates_kOI)
        for update_OI, into_OI, stream in zip(updates_kOI, thinned, self._streams, strict=True):
            kept_OI = stream.random(update_OI.shape, dtype=np.float32) < self._density
            np.multiply(update_OI, kept_OI / self._density, out=into_OI)
        return thinned


def _merge(
    layout: AdapterLayout,
    rows: np.ndarray,
    weights: Sequence[float],
    activation: Activation,
    rank: int | None,
    thin: _Thin,
    combine: _Combine,
) -> Injection:
    kept = len(rows) * layout.rank if rank is None else dials.rank(rank)
    a: dict[str, torch.Tensor] = {}
    b: dict[str, torch.Tensor] = {}
    for name, (a_kLrI, b_kLrO) in layout.views(rows).items():
        factors = []
        for layer in range(len(layout.layers)):
            updates_kOI = (np.float32(layout.scale) * b_kLrO[:, layer]).transpose(0, 2, 1) @ a_kLrI[:, layer]
            factors.append(_truncate(torch.from_numpy(combine(thin(updates_kOI), weights)), kept))
        a[name], b[name] = (torch.stack(parts) for parts in zip(*factors, strict=True))
    return Injection(layout.layers, a, b, activation)


def _truncate(update_OI: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns A [R, in] and B [R, out] whose product is the best approximation of an update of that rank."""
    widest = min(update_OI.shape)
    with torch.random.fork_rng(devices=[]):  # the sketch draws from torch's generator, which others rely on
        torch.default_generator.manual_seed(0)
        u_OR, s_R, v_IR = torch.svd_lowrank(update_OI, q=min(rank + _OVERSAMPLING, widest), niter=_POWER_STEPS)
    root_R = s_R[:rank].sqrt()
    return (v_IR[:, :rank] * root_R).T.contiguous(), (u_OR[:, :rank] * root_R).T.contiguous()
