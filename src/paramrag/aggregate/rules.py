"""The exact rules: k adapter rows with weights become one injection.

`concat` is the exact weighted sum of the updates, sum_i w_i * scale * B_i A_i, as one factorisation of rank k*r (the
eq. 3 of arXiv 2510.12668 for weights 1; PEFT's `cat`). `mean` is concat with the weights normalised to sum 1. Merging
A and B separately, as PEFT's `linear` and the DyPRAG code do, is not offered: it adds cross terms B_i A_j.

Shapes: k adapters, L layers, r rank, R = k*r.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..errors import ConfigError
from ..store.layout import AdapterLayout
from ..types import Activation, Injection

Aggregator = Callable[[AdapterLayout, np.ndarray, Sequence[float], Activation], Injection]
"""(layout, rows float32 [k, P], weights [k], activation) -> injection."""


def concat(layout: AdapterLayout, rows: np.ndarray, weights: Sequence[float], activation: Activation) -> Injection:
    """Returns the exact sum of the weighted updates, of rank k * r."""
    check_weights(rows, weights)
    count, rank, layers = len(rows), layout.rank, len(layout.layers)
    scales = torch.as_tensor(np.asarray(weights, dtype=np.float32) * np.float32(layout.scale))
    a: dict[str, torch.Tensor] = {}
    b: dict[str, torch.Tensor] = {}
    for name, (a_kLrI, b_kLrO) in layout.views(torch.from_numpy(rows)).items():
        a[name] = a_kLrI.transpose(0, 1).reshape(layers, count * rank, -1)
        b_LkrO = b_kLrO.new_empty(layers, count, rank, b_kLrO.shape[-1])  # written in order at once, not copied again
        b[name] = torch.mul(b_kLrO.transpose(0, 1), scales[:, None, None], out=b_LkrO).flatten(1, 2)
    return Injection(layers=layout.layers, a=a, b=b, activation=activation)


def mean(layout: AdapterLayout, rows: np.ndarray, weights: Sequence[float], activation: Activation) -> Injection:
    """Returns the weighted mean of the updates: concat with weights that sum to 1."""
    total = float(sum(weights))
    if total <= 0:
        raise ConfigError(f"weights {list(weights)} sum to {total:g}; a mean needs a positive sum")
    return concat(layout, rows, [weight / total for weight in weights], activation)


def check_weights(rows: np.ndarray, weights: Sequence[float]) -> None:
    """Refuses rows that are not [k, P] with k weights, k >= 1."""
    if rows.ndim != 2 or len(rows) != len(weights) or len(rows) == 0:
        raise ConfigError(
            f"adapter rows {rows.shape} and {len(weights)} weights; expected [k, P] and k weights, k >= 1"
        )


def counted(rows: np.ndarray, weights: Sequence[float]) -> tuple[np.ndarray, list[float]]:
    """Returns the rows and weights without those of weight 0; the first alone where all are 0.

    The rules that are not sums need this: an adapter without weight must neither vote nor take up room.
    """
    check_weights(rows, weights)
    kept = [number for number, weight in enumerate(weights) if weight != 0] or [0]
    return rows[kept], [float(weights[number]) for number in kept]
