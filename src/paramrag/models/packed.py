"""Weights in the order in which the matrix kernel reads them, for answering on CPU.

A product with a few rows spends most of its time bringing the weights into that order, anew each time. oneDNN can keep
them so: measured with SmolLM2-135M on one core, eight rows take 31 ms instead of 53, one row 31 instead of 36, and the
head 7 instead of 19. The price is memory for a second copy. The results are the same sums in another order.
"""

from __future__ import annotations

import torch
from torch import nn

from .base import BaseModel

PACKED_BYTES = 4 << 30
"""Models with more weights than this are left as they are, since their second copy may not fit."""

ROWS_EXPECTED = 32
"""What the order is chosen for; it serves any number of rows, but one chosen for a single row is slow for many."""

FEW, STEP, WIDE, WIDE_STEP = 16, 8, 128, 16
"""oneDNN keeps a kernel for every number of rows that it has met, half a megabyte each: up to FEW rows run as they are,
more are padded to a multiple of STEP, and beyond WIDE to one of WIDE_STEP, so that a server stays small."""


class PackedLinear(nn.Linear):
    """A linear layer that computes with a packed copy of its weight. Has no gradient."""

    packed: torch.Tensor

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Returns what the layer would, up to the order of the sums."""
        rows = input.numel() // self.in_features
        missing = -rows % (1 if rows <= FEW else STEP if rows <= WIDE else WIDE_STEP)
        if missing:
            input_RI = nn.functional.pad(input.reshape(rows, self.in_features), (0, 0, 0, missing))
            return self._product(input_RI)[:rows].view(*input.shape[:-1], self.out_features)
        return self._product(input)

    def _product(self, input: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, "none", [], "")
        return made


def packed(base: BaseModel) -> BaseModel:
    """Returns a twin whose linear layers have their weights packed, where that is possible, else a plain twin."""
    twin = base.twin()
    layers = [module for module in twin.model.modules() if type(module) is nn.Linear]
    size = sum(layer.weight.nbytes for layer in layers)
    available = hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and torch._C._has_mkldnn
    if available and base.device.type == "cpu" and base.dtype == torch.float32 and size <= PACKED_BYTES:
        for layer in layers:
            layer.__class__ = PackedLinear  # in place: hooks and `ffn` go on holding the same modules
            layer.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS_EXPECTED)
    return twin
