"""What a verb works with, opened from its arguments: the collection, the engine, the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..types import Progress
from .outcome import complain

if TYPE_CHECKING:
    from ..config import Recipe
    from ..infer import Engine
    from ..store import Collection


def open_collection(directory: Path) -> Collection:
    """Opens a collection that must exist."""
    from ..store import Collection

    return Collection.open(directory, create=False)


def load_engine(model: str, device: str = "cpu", dtype: str | None = None, progress: Progress | None = None) -> Engine:
    """Loads a base model, fetching it on first use."""
    from ..infer import Engine
    from ..models import load_base

    return Engine(load_base(model, device=device, dtype=dtype, progress=progress))


def warn_of_foreign_recipes(collection: Collection) -> None:
    """Says on stderr which adapters of the collection this version cannot use."""
    for name, reason in collection.foreign_recipes().items():
        complain(
            f"adapters under {name} were made by another version of ParamRAG and are not used ({reason}); "
            "`paramrag encode` makes new ones",
            label="note",
        )


def choose_recipe(collection: Collection, engine: Engine, given: str | None) -> Recipe:
    """Returns the recipe the user means.

    A name is one of a recipe that the collection holds adapters of (its name, or the beginning of its id), or whatever
    `load_recipe` knows. Without one it is the recipe the collection was encoded with; `default` where there are
    several of which that is one, or none.

    Raises:
        ConfigError: no such recipe, or several fit.
    """
    from ..config import load_recipe

    warn_of_foreign_recipes(collection)
    held = {
        record.recipe.id: record.recipe
        for record in collection.recipes()
        if record.base == engine.fingerprint and record.adapters
    }
    default = load_recipe("default")
    if given is None:
        fitting = list(held.values())
        if not fitting or default.id in held:
            return default
    else:
        fitting = [recipe for recipe in held.values() if recipe.name == given or recipe.id.startswith(given)]
        if not fitting:
            return load_recipe(given)
        if given == default.name and default.id in held:
            return default
    if len(fitting) > 1:
        names = ", ".join(f"{recipe.name} ({recipe.id})" for recipe in fitting)
        raise ConfigError(
            f"the collection was encoded under several recipes: {names}; choose one with --recipe and its name or id"
        )
    return fitting[0]
