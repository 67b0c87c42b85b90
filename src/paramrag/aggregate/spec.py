"""Aggregators by name: `concat`, `svd`, `svd:rank=4`, `ties:density=0.2,rank=8`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..errors import ConfigError, did_you_mean
from ..types import Injection
from . import dials
from .orthogonal import orthogonal
from .rules import Aggregator, concat, mean
from .sparse import dare, dare_ties, ties
from .truncated import svd

_Options = Mapping[str, Callable[[str], Any]]
_THINNED: _Options = {"density": dials.density, "rank": dials.rank}
_DROPPED: _Options = {**_THINNED, "seed": dials.seed}
_RULES: dict[str, tuple[Callable[..., Injection], _Options]] = {
    "concat": (concat, {}),
    "mean": (mean, {}),
    "svd": (svd, {"rank": dials.rank}),
    "ties": (ties, _THINNED),
    "dare": (dare, _DROPPED),
    "dare_ties": (dare_ties, _DROPPED),
    "orthogonal": (orthogonal, {}),
}


def aggregator(spec: str) -> Aggregator:
    """Returns the rule of that name, with the options that follow it: `NAME[:OPTION=VALUE,...]`.

    Raises:
        ConfigError: no such rule or option, or a value that the option cannot have.
    """
    name, _, tail = spec.partition(":")
    if name not in _RULES:
        raise ConfigError(f"unknown aggregator {name!r}: {did_you_mean(name, _RULES)}")
    rule, known = _RULES[name]
    options: dict[str, Any] = {}
    for part in tail.split(",") if ":" in spec else ():
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not known:
            raise ConfigError(f"aggregator {spec!r}: {name} has no options; expected {name!r} alone")
        if not equals:
            raise ConfigError(f"aggregator {spec!r}: {part!r} sets no option; expected NAME:OPTION=VALUE,...")
        if option not in known:
            raise ConfigError(f"aggregator {spec!r}: unknown option {option!r}: {did_you_mean(option, known)}")
        if option in options:
            raise ConfigError(f"aggregator {spec!r}: {option} is given twice")
        try:
            options[option] = known[option](value)
        except ConfigError as error:
            raise ConfigError(f"aggregator {spec!r}: {error}") from error
    return partial(rule, **options) if options else rule
