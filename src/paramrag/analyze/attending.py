"""Watches attention weights, one layer at a time. Weights are only there in the eager implementation.

Shapes: R rows, H query heads, N positions that run, T positions they attend to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..models import BaseModel

Visit = Callable[[int, torch.Tensor], None]
"""(layer, attention weights [R, H, N, T], which sum to 1 over T)."""


@contextmanager
def attention_watched(base: BaseModel, visit: Visit) -> Iterator[None]:
    """Calls `visit` with every layer's weights; puts back the implementation of attention that was there."""
    before = base.model.config._attn_implementation
    handles = []
    try:
        base.model.set_attn_implementation("eager")
        for index, layer in enumerate(base.decoder.layers):

            def leave(_: nn.Module, args: Any, output: Any, index: int = index) -> None:
                visit(index, output[1])

            handles.append(layer.self_attn.register_forward_hook(leave))
        yield
    finally:
        for handle in handles:
            handle.remove()
        base.model.set_attn_implementation(before)
