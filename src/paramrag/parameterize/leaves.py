"""Rows of stacked adapters -> factors of sequences that autograd can differentiate, and their gradients back to rows.

Each sequence gets factors of its own as leaves: a gradient through slices of the stacked parameter would fill all of
it.

Shapes: N rows, P numbers per row, S sequences.
"""

from __future__ import annotations

import torch

from ..infer.injection import BatchFactors
from ..store.layout import AdapterLayout


def leaves(layout: AdapterLayout, rows: torch.Tensor, owners: torch.Tensor, dtype: torch.dtype) -> BatchFactors:
    """Returns the factors of sequences whose adapters are `rows[owners]`; rows [N, P], owners int64 [S]."""
    a: dict[str, torch.Tensor] = {}
    b: dict[str, torch.Tensor] = {}
    for name, (a_NLrI, b_NLrO) in layout.views(rows).items():
        a[name] = a_NLrI[owners].transpose(0, 1).to(dtype).requires_grad_(True)
        b[name] = (b_NLrO[owners] * layout.scale).transpose(0, 1).to(dtype).requires_grad_(True)
    return BatchFactors(layout.layers, a, b)


def add_gradient(layout: AdapterLayout, gradient: torch.Tensor, factors: BatchFactors, owners: torch.Tensor) -> None:
    """Adds the gradients of the sequences' factors to those of their rows, [N, P], in place."""
    for name, (a_NLrI, b_NLrO) in layout.views(gradient).items():
        for into, factor, scale in ((a_NLrI, factors.a[name], 1.0), (b_NLrO, factors.b[name], layout.scale)):
            assert factor.grad is not None
            into.index_add_(0, owners, factor.grad.transpose(0, 1).to(into.dtype), alpha=scale)
