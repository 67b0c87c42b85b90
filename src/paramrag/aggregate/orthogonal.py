"""Gram-Schmidt over adapters: a weaker one keeps out of the inputs that a stronger one reads.

An update acts on an input only through its row space, the span of the rows of A that its B makes use of. In the order
of their weights, each update loses the part of its row space that earlier ones have taken: whatever input lies in the
row space of the strongest adapter is answered by that adapter alone, as if it had been injected by itself.

It works per projection and layer, from the factors, without a dense update. With disjoint row spaces it is `concat`.
Adapters that were trained from one shared A overlap: under the default recipe a second and a third one keep about 0.4
of their squared norm, and are as good as silent. It is then nearly the strongest adapter alone, for better or worse: of
36 questions with three adapters of equal weight it answers 22 where the right one comes first and 0 where it comes
second; `concat` answers 5.

Shapes: L layers, r rank, M = min(r, in, out), S how many directions are taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..store.layout import AdapterLayout
from ..types import Activation, Injection
from .rules import counted
from .truncated import singular

TOLERANCE = 1e-5
"""What is this small beside an update's largest singular value, or beside a unit vector, is rounding."""


def orthogonal(layout: AdapterLayout, rows: np.ndarray, weights: Sequence[float], activation: Activation) -> Injection:
    """Returns the sum of the weighted updates, each without its part in the row spaces of those before it.

    The order is that of the weights' magnitudes, then the one given: with equal weights the first adapter comes first.
    """
    rows, weights = counted(rows, weights)
    order = sorted(range(len(weights)), key=lambda number: -abs(weights[number]))
    a: dict[str, torch.Tensor] = {}
    b: dict[str, torch.Tensor] = {}
    for name, (a_kLrI, b_kLrO) in layout.views(torch.from_numpy(rows)).items():
        taken_LSI = a_kLrI.new_zeros(len(layout.layers), 0, a_kLrI.shape[-1])
        reading, writing = [], []
        for number in order:
            u_LOM, s_LM, v_LMI = singular(a_kLrI[number], b_kLrO[number])
            v_LMI = v_LMI * (s_LM > TOLERANCE * s_LM[:, :1])[..., None]  # directions the update does not use are free
            v_LMI = _without(v_LMI, taken_LSI)
            reading.append(v_LMI)
            writing.append((weights[number] * layout.scale) * (u_LOM * s_LM[:, None, :]).transpose(1, 2))
            taken_LSI = torch.cat([taken_LSI, _directions(v_LMI)], dim=1)
        a[name], b[name] = torch.cat(reading, dim=1), torch.cat(writing, dim=1)
    return Injection(layout.layers, a, b, activation)


def _without(v_LMI: torch.Tensor, taken_LSI: torch.Tensor) -> torch.Tensor:
    """Returns vectors without their part in the span of orthonormal (or zero) ones."""
    for _ in range(2):  # the second pass removes what rounding left of the first
        v_LMI = v_LMI - v_LMI @ taken_LSI.transpose(1, 2) @ taken_LSI
    return v_LMI


def _directions(v_LMI: torch.Tensor) -> torch.Tensor:
    """Returns orthonormal vectors with the span of the given ones, filled up with zeros."""
    _, s_LM, w_LMI = torch.linalg.svd(v_LMI, full_matrices=False)
    directions: torch.Tensor = w_LMI * (s_LM > TOLERANCE)[..., None]
    return directions
