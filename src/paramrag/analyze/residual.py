"""Watches the residual stream of a running model around every feed-forward block, one layer at a time.

Works for every decoder whose feed-forward block adds to the stream after attention has: Llama, Qwen, Mistral and
their kin, Gemma (whose block has a norm on both sides), OLMo 2 (whose norms come after).

Shapes: R rows, N positions, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from ..models import BaseModel

Visit = Callable[[int, torch.Tensor, torch.Tensor], None]
"""(layer, stream before its feed-forward block [R, N, D], stream after it [R, N, D])."""


@contextmanager
def watched(base: BaseModel, visit: Visit) -> Iterator[None]:
    """Calls `visit` for every layer that runs inside; keeps no state past its layer.

    The streams are as the block sees them: neither has gone through the final norm, in the last layer either.

    Raises:
        ModelError: the model's layers have no norm between attention and the feed-forward block.
    """
    before: dict[int, torch.Tensor] = {}
    handles = []
    try:
        for index, layer in enumerate(base.decoder.layers):

            def enter(_: nn.Module, args: Any, index: int = index) -> None:
                before[index] = args[0]

            def leave(_: nn.Module, args: Any, output: Any, index: int = index) -> None:
                visit(index, before.pop(index), output[0] if isinstance(output, tuple) else output)

            handles.append(_entrance(base, layer).register_forward_pre_hook(enter))
            handles.append(layer.register_forward_hook(leave))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _entrance(base: BaseModel, layer: Any) -> nn.Module:
    """The module whose input is the stream between attention and the feed-forward block."""
    if hasattr(layer, "pre_feedforward_layernorm"):
        entrance = layer.pre_feedforward_layernorm
    elif hasattr(layer, "post_feedforward_layernorm"):  # norms come after the blocks
        entrance = layer.mlp
    elif hasattr(layer, "post_attention_layernorm"):
        entrance = layer.post_attention_layernorm
    else:
        raise ModelError(
            f"{base.name} ({base.model.config.model_type}): its layers have no norm between attention and the "
            "feed-forward block, so the two act at once and the stream between them does not exist; choose a model "
            "such as Llama, Qwen, Mistral or Gemma"
        )
    module: nn.Module = entrance
    return module
