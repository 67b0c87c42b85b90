"""What the tests of aggregators share: a small layout, random rows, and the dense update of an injection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from oracles.dense import dense_updates
from paramrag.store.layout import AdapterLayout
from paramrag.types import Injection, ModuleShape

LAYOUT = AdapterLayout((1, 3), (ModuleShape("gate_proj", 11, 13), ModuleShape("down_proj", 13, 11)), rank=2, alpha=6.0)
PLACES = [(layer, module.name) for layer in LAYOUT.layers for module in LAYOUT.modules]


def random_rows(count: int, seed: int, layout: AdapterLayout = LAYOUT) -> np.ndarray:
    """Adapter rows with numbers everywhere, float32 [count, P]."""
    return np.random.default_rng(seed).standard_normal((count, layout.size)).astype(np.float32)


def update_of(injection: Injection, layer: int, name: str) -> torch.Tensor:
    """The dense update of an injection, [out, in]."""
    at = injection.layers.index(layer)
    return injection.b[name][at].T @ injection.a[name][at]


def updates_of(injection: Injection) -> dict[tuple[int, str], torch.Tensor]:
    """All dense updates of an injection."""
    return {(layer, name): update_of(injection, layer, name) for layer in injection.layers for name in injection.a}


def dense_sum(rows: np.ndarray, weights: Sequence[float], layout: AdapterLayout = LAYOUT) -> dict[Any, torch.Tensor]:
    """The weighted sum of the dense updates."""
    updates = [dense_updates(layout, row) for row in rows]
    return {
        place: sum(weight * update[place] for weight, update in zip(weights, updates, strict=True))
        for place in updates[0]
    }


def assert_same(left: dict[Any, torch.Tensor], right: dict[Any, torch.Tensor], tolerance: float = 1e-4) -> None:
    """Compares updates, each against the size of its largest number."""
    assert left.keys() == right.keys()
    for place, expected in right.items():
        atol = tolerance * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(left[place], expected, atol=atol, rtol=0, msg=lambda text, at=place: f"{at}: {text}")
