"""The best low-rank approximation of the weighted sum: an injection no larger than one adapter's.

The truncated singular value decomposition is the closest matrix of its rank in Frobenius norm (Eckart-Young). It is
computed from the factors alone: with B^T = Q_B R_B and A^T = Q_A R_A, the singular values of B^T A are those of the
small core R_B R_A^T [R, R], so the dense [out, in] update is never made. PEFT's `svd` gives the same update from the
dense one.

Shapes: L layers, R rank of the factors, M = min(R, in, out).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..store.layout import AdapterLayout
from ..types import Activation, Injection
from . import dials
from .rules import concat


def svd(
    layout: AdapterLayout,
    rows: np.ndarray,
    weights: Sequence[float],
    activation: Activation,
    *,
    rank: int | None = None,
) -> Injection:
    """Returns the weighted sum of the updates, truncated to a rank; None takes the adapters' own.

    At rank k * r it is the sum itself. Neither the order of the adapters nor one of weight 0 changes the update.
    """
    kept = layout.rank if rank is None else dials.rank(rank)
    whole = concat(layout, rows, weights, activation)
    a: dict[str, torch.Tensor] = {}
    b: dict[str, torch.Tensor] = {}
    for name in whole.a:
        u_LOM, s_LM, v_LMI = singular(whole.a[name], whole.b[name])
        root_LM1 = s_LM[:, :kept, None].sqrt()  # half to each factor, so that neither outgrows a narrow dtype
        a[name] = root_LM1 * v_LMI[:, :kept]
        b[name] = root_LM1 * u_LOM[:, :, :kept].transpose(1, 2)
    return Injection(layout.layers, a, b, activation)


def singular(a_LRI: torch.Tensor, b_LRO: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the singular value decompositions of the updates B^T A: U [L, out, M], S [L, M] falling, V [L, M, in].

    U has orthonormal columns and V orthonormal rows, also where singular values are 0.
    """
    qa_LIm, ra_LmR = torch.linalg.qr(a_LRI.transpose(1, 2))
    qb_LOm, rb_LmR = torch.linalg.qr(b_LRO.transpose(1, 2))
    u, s_LM, v = torch.linalg.svd(rb_LmR @ ra_LmR.transpose(1, 2), full_matrices=False)
    return qb_LOm @ u, s_LM, v @ qa_LIm.transpose(1, 2)
