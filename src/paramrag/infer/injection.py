"""Adds injections to the feed-forward layers of a running model, a different one for every row of the batch.

The model is never modified: forward hooks on the adapted projections add the low-rank term, and leaving the context
removes them, so the logits afterwards are bit-identical to the base model's.

Shapes: N rows of the batch, T tokens, L adapted layers, R rank of a row's injection (padded to the batch's largest).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import MismatchError
from ..models import BaseModel
from ..types import Injection

SHARED_INPUT = ("gate_proj", "up_proj")  # both read the block's input: their A factors are applied in one product


@dataclass(frozen=True, slots=True)
class BatchFactors:
    """The low-rank factors of a batch, one injection per row; autograd flows through them."""

    layers: tuple[int, ...]
    """Adapted layers, ascending."""
    a: Mapping[str, torch.Tensor]
    """Module name -> [L, N, R, in]."""
    b: Mapping[str, torch.Tensor]
    """Module name -> [L, N, R, out]; scales folded in."""

    def rows(self, keep: torch.Tensor) -> BatchFactors:
        """Returns the factors of some rows: `keep` holds row numbers or is a mask [N]."""
        return BatchFactors(
            self.layers,
            {name: factor[:, keep] for name, factor in self.a.items()},
            {name: factor[:, keep] for name, factor in self.b.items()},
        )


def stack(injections: Sequence[Injection | None], base: BaseModel, scale: float = 1.0) -> BatchFactors | None:
    """Returns the factors of a batch whose row n uses `injections[n]`; None where no row has one.

    Rows with a smaller rank, fewer layers or fewer modules are padded with zeros.
    """
    present = [injection for injection in injections if injection is not None]
    if not present:
        return None
    layers = tuple(sorted({layer for injection in present for layer in injection.layers}))
    if layers[-1] >= base.layer_count:
        raise MismatchError(
            f"injection adapts layer {layers[-1]}, but {base.name} has layers 0 to {base.layer_count - 1}: "
            "it was made for another base model"
        )
    a: dict[str, torch.Tensor] = {}
    b: dict[str, torch.Tensor] = {}
    for shape in base.shapes:
        owners = [injection for injection in present if shape.name in injection.a]
        if not owners:
            continue
        rank = max(injection.a[shape.name].shape[1] for injection in owners)
        size = (len(layers), len(injections), rank)
        a[shape.name] = torch.zeros(*size, shape.in_features, dtype=base.dtype, device=base.device)
        b[shape.name] = torch.zeros(*size, shape.out_features, dtype=base.dtype, device=base.device)
        for row, injection in enumerate(injections):
            if injection is None or shape.name not in injection.a:
                continue
            a_LRI, b_LRO = injection.a[shape.name], injection.b[shape.name]
            if a_LRI.shape[-1] != shape.in_features or b_LRO.shape[-1] != shape.out_features:
                raise MismatchError(
                    f"injection for {shape.name} maps {a_LRI.shape[-1]} to {b_LRO.shape[-1]} features, {base.name} "
                    f"{shape.in_features} to {shape.out_features}: it was made for another base model"
                )
            at = slice(None) if injection.layers == layers else [layers.index(layer) for layer in injection.layers]
            a[shape.name][at, row, : a_LRI.shape[1]] = a_LRI.to(base.device, base.dtype)
            b[shape.name][at, row, : b_LRO.shape[1]] = (b_LRO * scale).to(base.device, base.dtype)
    return BatchFactors(layers, a, b)


@contextmanager
def injected(base: BaseModel, factors: BatchFactors | None) -> Iterator[None]:
    """Runs the body with the factors added to the model's feed-forward layers; always takes them out again."""
    handles: list[Any] = []
    try:
        if factors is not None:
            per_layer = {name: (a.unbind(0), factors.b[name].unbind(0)) for name, a in factors.a.items()}
            for position, layer in enumerate(factors.layers):
                own = {name: (a[position], b[position]) for name, (a, b) in per_layer.items()}
                handles.extend(_attach(base.ffn[layer], own))
        yield
    finally:
        for handle in handles:
            handle.remove()


_Factors = Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # of one layer: module name -> (A [N, R, in], B [N, R, out])


def _attach(modules: Mapping[str, nn.Linear], factors: _Factors) -> Iterator[Any]:
    """Hooks the projections of one layer; yields the handles."""
    shared = {name: factors[name] for name in SHARED_INPUT if name in factors}
    if len(shared) == 2:
        yield from _attach_shared(modules, shared)
    for name, (a_NRI, b_NRO) in factors.items():
        if name not in shared or len(shared) < 2:

            def add(_: nn.Module, args: Any, output: torch.Tensor, a: Any = a_NRI, b: Any = b_NRO) -> torch.Tensor:
                return _plus(output, _down(args[0], a), b)

            yield modules[name].register_forward_hook(add)


def _attach_shared(modules: Mapping[str, nn.Linear], factors: _Factors) -> Iterator[Any]:
    """Hooks the two projections of one input: the first called reduces it for both."""
    a_NRI = torch.cat([a for a, _ in factors.values()], dim=1)
    ranks = [a.shape[1] for a, _ in factors.values()]
    reduced: dict[str, Any] = {}

    for index, (name, (_, b_NRO)) in enumerate(factors.items()):

        def add(_: nn.Module, args: Any, output: torch.Tensor, index: int = index, b: Any = b_NRO) -> torch.Tensor:
            if reduced.get("input") is not args[0]:
                reduced["input"], reduced["parts"] = args[0], torch.split(_down(args[0], a_NRI), ranks, dim=-1)
            part = reduced["parts"][index]
            if index == len(ranks) - 1:
                reduced.clear()  # hold no activation past its layer
            return _plus(output, part, b)

        yield modules[name].register_forward_hook(add)


def _down(x_NTI: torch.Tensor, a_NRI: torch.Tensor) -> torch.Tensor:
    if len(a_NRI) == 1:  # one injection for whatever batch runs
        return x_NTI @ a_NRI[0].T
    return torch.bmm(x_NTI, a_NRI.transpose(1, 2))


def _plus(output_NTO: torch.Tensor, reduced_NTR: torch.Tensor, b_NRO: torch.Tensor) -> torch.Tensor:
    if len(b_NRO) == 1:
        return output_NTO + reduced_NTR @ b_NRO[0]
    return torch.baddbmm(output_NTO, reduced_NTR, b_NRO)
