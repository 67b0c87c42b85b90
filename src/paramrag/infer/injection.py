"""Adds injections to the feed-forward layers of a running model, a different one for every row of the batch.

The weights are never modified: within a context the adapted projections compute the low-rank term as well, and leaving
it gives them back what they did before, so the logits afterwards are bit-identical to the base model's.

Shapes: N rows of the batch, T tokens, L adapted layers, R rank of a row's injection (padded to the batch's largest).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from ..errors import MismatchError
from ..models import BaseModel
from ..types import Injection
from .spans import Spans

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
    a_shared: torch.Tensor | None = None
    """[L, N, R_gate + R_up, in]: the A factors of both modules of `SHARED_INPUT`, where they lie side by side."""

    def rows(self, keep: torch.Tensor | slice) -> BatchFactors:
        """Returns the factors of some rows: `keep` holds row numbers, is a mask [N], or a slice (then nothing is
        copied)."""
        return BatchFactors(
            self.layers,
            {name: factor[:, keep] for name, factor in self.a.items()},
            {name: factor[:, keep] for name, factor in self.b.items()},
            None if self.a_shared is None else self.a_shared[:, keep],
        )


def check_fits(injection: Injection, base: BaseModel) -> None:
    """Refuses an injection that was made for another base model.

    Raises:
        MismatchError: its layers or widths are not the model's.
    """
    if injection.layers[-1] >= base.layer_count:
        raise MismatchError(
            f"injection adapts layer {injection.layers[-1]}, but {base.name} has layers 0 to {base.layer_count - 1}: "
            "it was made for another base model"
        )
    for shape in base.shapes:
        if shape.name not in injection.a:
            continue
        a_LRI, b_LRO = injection.a[shape.name], injection.b[shape.name]
        if a_LRI.shape[-1] != shape.in_features or b_LRO.shape[-1] != shape.out_features:
            raise MismatchError(
                f"injection for {shape.name} maps {a_LRI.shape[-1]} to {b_LRO.shape[-1]} features, {base.name} "
                f"{shape.in_features} to {shape.out_features}: it was made for another base model"
            )


def stack(injections: Sequence[Injection | None], base: BaseModel, scale: float = 1.0) -> BatchFactors | None:
    """Returns the factors of a batch whose row n uses `injections[n]`; None where no row has one.

    Rows with a smaller rank, fewer layers or fewer modules are padded with zeros.

    Raises:
        MismatchError: an injection was made for another base model.
    """
    present = [injection for injection in injections if injection is not None]
    if not present:
        return None
    for injection in present:
        check_fits(injection, base)
    if len(injections) == 1:
        return _alone(present[0], base, scale)
    layers = tuple(sorted({layer for injection in present for layer in injection.layers}))
    ranks = {
        shape: max(injection.a[shape.name].shape[1] for injection in present if shape.name in injection.a)
        for shape in base.shapes
        if any(shape.name in injection.a for injection in present)
    }
    a: dict[str, torch.Tensor] = {}
    b: dict[str, torch.Tensor] = {}
    sharing = [shape for shape in ranks if shape.name in SHARED_INPUT]
    a_shared = None

    def zeros(rank: int, features: int) -> torch.Tensor:
        return torch.zeros(len(layers), len(injections), rank, features, dtype=base.dtype, device=base.device)

    if len(sharing) == len(SHARED_INPUT):
        a_shared = zeros(sum(ranks[shape] for shape in sharing), sharing[0].in_features)
        parts = torch.split(a_shared, [ranks[shape] for shape in sharing], dim=2)
        a.update((shape.name, part) for shape, part in zip(sharing, parts, strict=True))
    for shape, rank in ranks.items():
        if shape.name not in a:
            a[shape.name] = zeros(rank, shape.in_features)
        b[shape.name] = zeros(rank, shape.out_features)
    factors = BatchFactors(layers, a, b, a_shared)
    for row, own in enumerate(injections):
        if own is not None:
            _write(factors, row, own, scale)
    return factors


def _alone(injection: Injection, base: BaseModel, scale: float) -> BatchFactors:
    """The factors of a batch of one row, which needs no room for others: what is not changed is not copied."""
    scaled = injection.b if scale == 1.0 else {name: factor * scale for name, factor in injection.b.items()}
    a = {name: factor[:, None].to(base.device, base.dtype) for name, factor in injection.a.items()}
    b = {name: factor[:, None].to(base.device, base.dtype) for name, factor in scaled.items()}
    sharing = [a[name] for name in SHARED_INPUT if name in a]
    a_shared = torch.cat(sharing, dim=2) if len(sharing) == len(SHARED_INPUT) else None
    return BatchFactors(injection.layers, a, b, a_shared)


def _write(factors: BatchFactors, row: int, injection: Injection, scale: float = 1.0) -> None:
    """Copies an injection into a row of zeros."""
    same = injection.layers == factors.layers
    at = slice(None) if same else [factors.layers.index(layer) for layer in injection.layers]
    for name, a_LRI in injection.a.items():
        factors.a[name][at, row, : a_LRI.shape[1]] = a_LRI.to(factors.a[name])
        b_LRO = injection.b[name] if scale == 1.0 else injection.b[name] * scale
        factors.b[name][at, row, : b_LRO.shape[1]] = b_LRO.to(factors.b[name])


class FactorRows:
    """The factors of a batch whose rows come and go: who joins is copied once, the others stay where they are."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._injections: list[Injection | None] = []
        self._room: BatchFactors | None = None  # with spare rows

    def join(self, injection: Injection | None) -> None:
        """Adds a row at the end."""
        self._injections.append(injection)
        row = len(self._injections) - 1
        if injection is None and self._room is None:
            return
        if self._room is None or not self._takes(injection):
            spare = [None] * max(4, len(self._injections))
            self._room = stack([*self._injections, *spare], self._base)
            return
        for factor in (*self._room.a.values(), *self._room.b.values()):
            factor[:, row].zero_()
        if injection is not None:
            _write(self._room, row, injection)

    def leave(self, row: int) -> None:
        """Takes a row out; the last row takes its place."""
        last = self._injections.pop()
        if row < len(self._injections):
            self._injections[row] = last
            if self._room is not None:
                for factor in (*self._room.a.values(), *self._room.b.values()):
                    factor[:, row] = factor[:, len(self._injections)]

    def factors(self) -> BatchFactors | None:
        """Returns the rows' factors, None where no row has an injection; valid until a row comes or goes."""
        if self._room is None or all(injection is None for injection in self._injections):
            return None
        return self._room.rows(slice(0, len(self._injections)))

    def _takes(self, injection: Injection | None) -> bool:
        room = self._room
        if room is None or len(self._injections) > next(iter(room.b.values())).shape[1]:
            return False
        return injection is None or (
            set(injection.layers) <= set(room.layers)
            and all(name in room.a and a.shape[1] <= room.a[name].shape[2] for name, a in injection.a.items())
        )


@contextmanager
def injected(base: BaseModel, factors: BatchFactors | None, spans: Spans | None = None) -> Iterator[None]:
    """Runs the body with the factors added to the model's feed-forward layers; always takes them out again.

    Args:
        spans: which rows the tokens of a packed pass belong to; None where what runs is a batch of the rows [N, T].
    """
    replaced: list[tuple[nn.Module, Any]] = []
    try:
        if factors is not None:
            rows = _Batch() if spans is None else _Packed(spans)
            for layer, own in zip(factors.layers, _by_layer(factors), strict=True):
                for name, forward in _forwards(base.ffn[layer], *own, rows):
                    module = base.ffn[layer][name]
                    replaced.append((module, module.__dict__.get("forward")))
                    module.__dict__["forward"] = forward  # as a hook would do, which costs six times as much
        yield
    finally:
        for module, before in reversed(replaced):
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before


_Factors = Mapping[str, torch.Tensor]  # of one layer, by module: A [N, R, in] or B [N, R, out]
_Forward = Callable[[torch.Tensor], torch.Tensor]


def _by_layer(factors: BatchFactors) -> Iterator[tuple[_Factors, _Factors, torch.Tensor | None]]:
    """Yields each layer's A and B factors, and the A factors of `SHARED_INPUT` where they lie side by side."""
    apart = [name for name in factors.a if factors.a_shared is None or name not in SHARED_INPUT]
    a, b = {name: factors.a[name].unbind(0) for name in apart}, {name: b.unbind(0) for name, b in factors.b.items()}
    shared = None if factors.a_shared is None else factors.a_shared.unbind(0)
    for position in range(len(factors.layers)):
        yield (
            {name: own[position] for name, own in a.items()},
            {name: own[position] for name, own in b.items()},
            None if shared is None else shared[position],
        )


def _forwards(
    modules: Mapping[str, nn.Linear], a: _Factors, b: _Factors, a_shared: torch.Tensor | None, rows: _Rows
) -> Iterator[tuple[str, _Forward]]:
    """Yields what the adapted projections of one layer are to compute."""
    sharing = all(name in b for name in SHARED_INPUT)
    if sharing:
        both = torch.cat([a[name] for name in SHARED_INPUT], dim=1) if a_shared is None else a_shared
        yield from _sharing(modules, both, b, rows)
    for name, a_NRI in a.items():
        if not (sharing and name in SHARED_INPUT):

            def forward(
                x: torch.Tensor, own: Any = modules[name].forward, a: Any = a_NRI, b: Any = b[name]
            ) -> torch.Tensor:
                return rows.plus(own(x), rows.down(x, a), b)

            yield name, forward


def _sharing(
    modules: Mapping[str, nn.Linear], a_NRI: torch.Tensor, b: _Factors, rows: _Rows
) -> Iterator[tuple[str, _Forward]]:
    """Yields the two projections of one input: the first called reduces it for both."""
    ranks = [b[name].shape[1] for name in SHARED_INPUT]
    reduced: dict[str, Any] = {}

    for index, name in enumerate(SHARED_INPUT):

        def forward(
            x: torch.Tensor, own: Any = modules[name].forward, index: int = index, b: Any = b[name]
        ) -> torch.Tensor:
            if reduced.get("input") is not x:
                reduced["input"] = x
                reduced["parts"] = [torch.split(part, ranks, dim=-1) for part in rows.down(x, a_NRI)]
            parts = [part[index] for part in reduced["parts"]]
            if index == len(ranks) - 1:
                reduced.clear()  # hold no activation past its layer
            return rows.plus(own(x), parts, b)

        yield name, forward


class _Rows(Protocol):
    """How the tokens that run belong to rows."""

    def down(self, x: torch.Tensor, a_NRI: torch.Tensor) -> list[torch.Tensor]:
        """Returns what the A factors make of the input, in parts."""

    def plus(self, output: torch.Tensor, parts: Sequence[torch.Tensor], b_NRO: torch.Tensor) -> torch.Tensor:
        """Returns the output with what the B factors make of the parts."""


class _Batch:
    """Row n of the batch uses injection n, or all of them the only one."""

    def down(self, x_NTI: torch.Tensor, a_NRI: torch.Tensor) -> list[torch.Tensor]:
        if len(a_NRI) == 1:
            return [x_NTI @ a_NRI[0].T]
        return [torch.bmm(x_NTI, a_NRI.transpose(1, 2))]

    def plus(self, output_NTO: torch.Tensor, parts: Sequence[torch.Tensor], b_NRO: torch.Tensor) -> torch.Tensor:
        if len(b_NRO) == 1:
            return output_NTO + parts[0] @ b_NRO[0]
        return torch.baddbmm(output_NTO, parts[0], b_NRO)


class _Packed:
    """The first tokens use one injection each; after them, chunks of prompts use one where it is `full`."""

    def __init__(self, spans: Spans) -> None:
        self._front = spans.front
        self._chunks = [(row, tokens) for row, tokens, _ in spans.chunks if row in spans.full]

    def down(self, x_1TI: torch.Tensor, a_NRI: torch.Tensor) -> list[torch.Tensor]:
        each = torch.bmm(x_1TI[0, : self._front, None], a_NRI.transpose(1, 2))
        return [each, *(x_1TI[0, tokens] @ a_NRI[row].T for row, tokens in self._chunks)]

    def plus(self, output_1TO: torch.Tensor, parts: Sequence[torch.Tensor], b_NRO: torch.Tensor) -> torch.Tensor:
        # in place, which no gradient may see: this runs where answers are made
        output_1TO[0, : self._front, None].baddbmm_(parts[0], b_NRO)
        for (row, tokens), part in zip(self._chunks, parts[1:], strict=True):
            output_1TO[0, tokens].addmm_(part, b_NRO[row])
        return output_1TO
