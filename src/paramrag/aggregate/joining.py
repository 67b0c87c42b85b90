"""Puts several injections into one: their updates add up, as adapters of one recipe do under `concat`.

They may adapt other layers and modules and have other ranks; what one lacks is zero in it.

Shapes: L layers of the result, R summed rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import ConfigError
from ..types import Injection


def join(injections: Sequence[Injection | None]) -> Injection | None:
    """Returns the exact sum of the injections' updates; None for none.

    Raises:
        ConfigError: they are on at different places in the sequence.
    """
    present = [injection for injection in injections if injection is not None]
    if len(present) < 2:
        return present[0] if present else None
    activations = {injection.activation for injection in present}
    if len(activations) > 1:
        raise ConfigError(
            f"injections with activation {' and '.join(sorted(activations))} cannot be joined; make both under "
            "recipes of the same activation"
        )
    layers = tuple(sorted({layer for injection in present for layer in injection.layers}))
    names = list(dict.fromkeys(name for injection in present for name in injection.a))
    parts = [_over(injection, layers) for injection in present]
    return Injection(
        layers=layers,
        a={name: torch.cat([a[name] for a, _ in parts if name in a], dim=1) for name in names},
        b={name: torch.cat([b[name] for _, b in parts if name in b], dim=1) for name in names},
        activation=present[0].activation,
    )


def _over(injection: Injection, layers: tuple[int, ...]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Its factors with a row for each of `layers`."""
    if injection.layers == layers:
        return dict(injection.a), dict(injection.b)
    at = torch.tensor([layers.index(layer) for layer in injection.layers])

    def spread(factor: torch.Tensor) -> torch.Tensor:
        wide = factor.new_zeros(len(layers), *factor.shape[1:])
        wide[at] = factor
        return wide

    a = {name: spread(factor) for name, factor in injection.a.items()}
    b = {name: spread(factor) for name, factor in injection.b.items()}
    return a, b
