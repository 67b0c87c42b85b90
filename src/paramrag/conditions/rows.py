"""Damages the numbers of adapters: random, scaled, quantised. numpy alone.

Shapes: k adapters, P numbers in a row. A vector is one rank of one factor of one module in one layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import ConfigError, did_you_mean
from ..store.layout import AdapterLayout

RowFilter = Callable[[AdapterLayout, np.ndarray, Sequence[str]], np.ndarray]
"""(layout, rows float32 [k, P], passage ids [k]) -> rows float32 [k, P], a new array."""

ROW_STEPS = ("random", "scaled(X)", "quantised(BITS)")
"""The steps, with what stands in their brackets."""
_CALL = re.compile(r"([a-z-]+)(?:\(([^()]*)\))?")


def row_step(step: str, *, known: Sequence[str] = ROW_STEPS, seed: int = 0) -> RowFilter:
    """Returns the filter of a step.

    Raises:
        ConfigError: no such step, or an argument that does not fit.
    """
    match = _CALL.fullmatch(step)
    name, argument = match.groups() if match else (step, None)
    if name == "random" and argument is None:
        return lambda layout, rows, passage_ids: randomised(layout, rows, passage_ids, seed)
    if name == "scaled":
        factor = _number(step, argument, -1e6, 1e6)
        return lambda layout, rows, passage_ids: scaled(layout, rows, factor)
    if name == "quantised":
        bits = _number(step, argument, 2, 8)
        if bits != int(bits):
            raise ConfigError(f"condition {step!r}: expected a whole number of bits from 2 to 8")
        return lambda layout, rows, passage_ids: quantised(layout, rows, int(bits))
    raise ConfigError(f"unknown condition {step!r}: {did_you_mean(step, known)}")


def chain_rows(filters: Sequence[RowFilter]) -> RowFilter | None:
    """Returns the filters as one, applied in order; None for none."""
    if not filters:
        return None

    def apply(layout: AdapterLayout, rows: np.ndarray, passage_ids: Sequence[str]) -> np.ndarray:
        for each in filters:
            rows = each(layout, rows, passage_ids)
        return rows

    return apply


def randomised(layout: AdapterLayout, rows: np.ndarray, passage_ids: Sequence[str], seed: int = 0) -> np.ndarray:
    """Returns rows of normal noise in which every vector has the norm that it had; a passage's noise is its own."""
    found = np.empty_like(rows)
    for index, passage_id in enumerate(passage_ids):
        rng = np.random.default_rng([seed, *passage_id.encode()])
        found[index] = rng.standard_normal(rows.shape[1], dtype=np.float32)
    for block in layout.blocks():
        part = slice(block.start, block.stop)
        shape = (len(rows), -1, block.shape[2])
        old, new = rows[:, part].reshape(shape), found[:, part].reshape(shape)
        new *= np.linalg.norm(old, axis=2, keepdims=True) / np.linalg.norm(new, axis=2, keepdims=True)
        found[:, part] = new.reshape(len(rows), -1)
    return found


def scaled(layout: AdapterLayout, rows: np.ndarray, factor: float) -> np.ndarray:
    """Returns rows whose updates B A are `factor` times as large: B is scaled."""
    found = rows.copy()
    for block in layout.blocks():
        if block.factor == "b":
            found[:, block.start : block.stop] *= np.float32(factor)
    return found


def quantised(layout: AdapterLayout, rows: np.ndarray, bits: int) -> np.ndarray:
    """Returns rows rounded to whole multiples of max |vector| / (2^(bits-1) - 1), as the store does with 8 bits."""
    found = np.empty_like(rows)
    top = np.float32(2 ** (bits - 1) - 1)
    for block in layout.blocks():
        vectors = rows[:, block.start : block.stop].reshape(-1, block.shape[2])
        step = np.abs(vectors).max(axis=1, keepdims=True) / top
        whole = np.clip(np.rint(vectors / np.where(step > 0, step, np.float32(1))), -top, top)
        found[:, block.start : block.stop] = (whole * step).reshape(len(rows), -1)
    return found


def _number(step: str, argument: str | None, least: float, most: float) -> float:
    try:
        value = float(argument or "")
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise ConfigError(f"condition {step!r}: expected a number from {least:g} to {most:g} in brackets")
    return value
