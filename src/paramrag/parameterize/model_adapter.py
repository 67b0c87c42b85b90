"""Adapters that belong to a model rather than to a passage: shipped with the package, or trained once and kept.

A shipped one is used only for the very model and recipe that it was trained with: the file is named by their hashes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from ..aggregate import concat
from ..config import Recipe
from ..infer import Engine
from ..models.cache import build_once, cache_folder
from ..store.codec import decode, encode
from ..types import Injection

STORAGE = "int8"
"""How shipped adapters are stored."""


def model_adapter(engine: Engine, recipe: Recipe, kind: str, train: Callable[[], np.ndarray]) -> Injection:
    """Returns an adapter as an injection: the shipped one, else from the cache, where it is put by training it once.

    Args:
        recipe: the adapter's.
        kind: what it does, and the version of how it is made.
        train: makes its row, float32 [P].
    """
    layout = engine.layout(recipe)
    shipped = _shipped(engine, recipe, kind)
    if shipped.is_file():
        row = decode(shipped.read_bytes(), layout, STORAGE)
    else:

        def build(folder: Path) -> None:
            np.save(folder / "row.npy", train())

        folder = build_once(_kept(engine, recipe, kind), build)
        row = np.load(folder / "row.npy")
    return concat(layout, row[None], [1.0], recipe.activation)


def is_ready(engine: Engine, recipe: Recipe, kind: str) -> bool:
    """Returns whether `model_adapter` would have to train nothing."""
    return _shipped(engine, recipe, kind).is_file() or _kept(engine, recipe, kind).is_dir()


def _shipped(engine: Engine, recipe: Recipe, kind: str) -> Traversable:
    return resources.files("paramrag.primer") / "adapters" / file_name(engine, recipe, kind)


def _kept(engine: Engine, recipe: Recipe, kind: str) -> Path:
    return cache_folder() / kind / f"{engine.fingerprint}-{recipe.id}"


def ship(engine: Engine, recipe: Recipe, kind: str, row: np.ndarray, folder: Path) -> Path:
    """Writes a row as `model_adapter` reads it; returns the file."""
    file = folder / file_name(engine, recipe, kind)
    file.write_bytes(encode(row, engine.layout(recipe), STORAGE))
    return file


def file_name(engine: Engine, recipe: Recipe, kind: str) -> str:
    """Returns the name of a shipped adapter."""
    return f"{kind}-{engine.fingerprint}-{recipe.id}.{STORAGE}"
