"""The options of aggregators, each read and checked in one place, whether from a spec string or from Python."""

from __future__ import annotations

from ..errors import ConfigError


def density(value: str | float) -> float:
    """Returns the share of numbers to keep: above 0, at most 1."""
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not 0 < number <= 1:
        raise ConfigError(f"density is {value!r}; expected the share of numbers to keep, above 0 and at most 1")
    return number


def rank(value: str | int) -> int:
    """Returns the rank of an injection: at least 1."""
    return _whole("rank", value, 1)


def seed(value: str | int) -> int:
    """Returns a seed: at least 0."""
    return _whole("seed", value, 0)


def _whole(name: str, value: str | int, least: int) -> int:
    try:
        number = int(value)
    except ValueError:
        number = least - 1
    if number < least or number != float(value):
        raise ConfigError(f"{name} is {value!r}; expected a whole number, {least} or more")
    return number
