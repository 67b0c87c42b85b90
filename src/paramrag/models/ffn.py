"""Finds the feed-forward projections of a decoder: the linear layers that adapters are added to.

One mechanism for Llama, Qwen2, Qwen3, Mistral, Gemma and whatever else is built alike: each decoder layer has an
`mlp` with the linear layers `gate_proj`, `up_proj` and `down_proj`, of the same shapes in every layer. A model
without them is refused, with the reason. Knows nothing of adapters.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ..config import MODULE_NAMES
from ..errors import ModelError
from ..types import ModuleShape

_NEEDED = (
    "expected an mlp with the linear layers gate_proj, up_proj and down_proj in every decoder layer, "
    "as in Llama, Qwen2, Qwen3, Mistral and Gemma; choose such a model"
)


def feed_forward(model: Any, name: str) -> tuple[tuple[dict[str, nn.Linear], ...], tuple[ModuleShape, ...]]:
    """Returns the projections of each decoder layer {module name: linear layer}, and their common shapes.

    Args:
        model: a causal language model of transformers.
        name: how the user calls it, for error messages.

    Raises:
        ModelError: the model has no such projections, fuses them, routes between experts, or varies their shape.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList) or len(layers) == 0:
        raise ModelError(f"model {name!r} ({_family(model)}) has no list of decoder layers: {_NEEDED}")
    projections = tuple(_projections(model, name, index, layer) for index, layer in enumerate(layers))
    shapes = tuple(ModuleShape(module, *_widths(projections[0][module])) for module in MODULE_NAMES)
    for index, found in enumerate(projections):
        for shape in shapes:
            if (got := _widths(found[shape.name])) != (shape.in_features, shape.out_features):
                raise ModelError(
                    f"model {name!r} ({_family(model)}): {shape.name} of layer {index} maps {got[0]} to {got[1]}, that "
                    f"of layer 0 {shape.in_features} to {shape.out_features}; an adapter row needs equal shapes in all "
                    "layers, so choose a model whose layers are alike"
                )
    return projections, shapes


def _projections(model: Any, name: str, index: int, layer: nn.Module) -> dict[str, nn.Linear]:
    mlp = getattr(layer, "mlp", None)
    found = {module: getattr(mlp, module, None) for module in MODULE_NAMES}
    linear: dict[str, nn.Linear] = {module: child for module, child in found.items() if isinstance(child, nn.Linear)}
    children = {child.rpartition(".")[2] for child, _ in layer.named_modules()}
    if "experts" in children:
        reason = "routes between experts (mixture of experts)"
    elif len(linear) == len(MODULE_NAMES):
        return linear
    elif "gate_up_proj" in children:
        reason = "fuses gate and up into one gate_up_proj"
    elif mlp is None:
        reason = "has no module named mlp"
    else:
        missing = [module for module in MODULE_NAMES if module not in linear]
        reason = f"has no linear {', '.join(missing)}"
    raise ModelError(f"model {name!r} ({_family(model)}) cannot carry adapters: layer {index} {reason}; {_NEEDED}")


def _widths(linear: nn.Linear) -> tuple[int, int]:
    return linear.in_features, linear.out_features


def _family(model: Any) -> str:
    return str(model.config.model_type)
