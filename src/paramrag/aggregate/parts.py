"""Parts of an injection: some of its layers, some of its modules, more or less of it; the whole is left as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..errors import ConfigError
from ..types import Injection


def restrict(
    injection: Injection, *, layers: Iterable[int] | None = None, modules: Iterable[str] | None = None
) -> Injection:
    """Returns the part of an injection that is in some layers and modules; None keeps all of them.

    Raises:
        ConfigError: nothing of the injection is left.
    """
    kept = set(injection.layers if layers is None else layers)
    at = [position for position, layer in enumerate(injection.layers) if layer in kept]
    names = set(injection.a if modules is None else modules).intersection(injection.a)
    if not at or not names:
        raise ConfigError(
            f"the injection is in layers {_ranges(injection.layers)} and modules {', '.join(injection.a)}; nothing of "
            f"it is in layers {_ranges(kept)} and modules {', '.join(injection.a if modules is None else modules)}; "
            "choose among those it has"
        )
    return replace(
        injection,
        layers=tuple(injection.layers[position] for position in at),
        a={name: factor[at] for name, factor in injection.a.items() if name in names},
        b={name: factor[at] for name, factor in injection.b.items() if name in names},
    )


def scaled(injection: Injection, scale: float) -> Injection:
    """Returns the injection with its updates times `scale`."""
    return replace(injection, b={name: factor * scale for name, factor in injection.b.items()})


def _ranges(layers: Iterable[int]) -> str:
    ordered = sorted(layers)
    return f"{ordered[0]} to {ordered[-1]}" if ordered else "none"
