"""What a verb works with, opened from its arguments: the collection, the engine, the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..types import Progress
from .outcome import complain

if TYPE_CHECKING:
    from ..config import Parameterizer, Recipe
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


def choose_recipe(
    collection: Collection, engine: Engine, given: str | None, parameterizer: Parameterizer | None = None
) -> Recipe:
    """Returns the recipe the user means.

    A name is one of a recipe that the collection holds adapters of (its name, or the beginning of its id), or whatever
    `load_recipe` knows. Without one it is the recipe the collection was encoded with; `default` where there are
    several of which that is one, or none.

    Args:
        parameterizer: only recipes whose adapters are made so; None: any.

    Raises:
        ConfigError: no such recipe, or several fit.
    """
    warn_of_foreign_recipes(collection)
    return _chosen(collection, engine, given, parameterizer)


def _chosen(collection: Collection, engine: Engine, given: str | None, parameterizer: Parameterizer | None) -> Recipe:
    from ..config import load_recipe

    held = {
        record.recipe.id: record.recipe
        for record in collection.recipes()
        if record.base == engine.fingerprint
        and record.adapters
        and parameterizer in (None, record.recipe.parameterizer)
    }
    default = load_recipe("default")
    if given is None:
        fitting = list(held.values())
        if parameterizer == "dynamic" and not fitting:
            raise ConfigError(
                "the collection holds no predicted adapters for this model; make them with "
                "`paramrag encode DIR --method dynamic [--hypernet FOLDER]`"
            )
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


def choose_recipes(
    collection: Collection, engine: Engine, given: str | None, modes: Iterable[str]
) -> dict[Parameterizer, Recipe]:
    """Returns the recipe that the user means for each kind of adapter that the modes inject; trained ones always.

    A given recipe is that of its own kind; the other kind is then the collection's own.
    """
    from ..modes import MODES

    warn_of_foreign_recipes(collection)
    kinds: dict[Parameterizer, None] = {"static": None}
    kinds |= {MODES[mode].parameterizer: None for mode in modes if mode in MODES and MODES[mode].weights}
    named = _chosen(collection, engine, given, None) if given is not None else None
    chosen: dict[Parameterizer, Recipe] = {}
    for kind in kinds:
        fits = named is not None and named.parameterizer == kind
        chosen[kind] = named if named is not None and fits else _chosen(collection, engine, None, kind)
    return chosen


def prepare_task(
    engine: Engine, recipes: Mapping[Parameterizer, Recipe], modes: Iterable[str], progress: Progress | None
) -> None:
    """Trains the task adapters that modes need and that are not there yet, where the user can watch."""
    from ..modes import MODES
    from ..parameterize import task_adapter

    for mode in (MODES[name] for name in modes if name in MODES):
        recipe = recipes[mode.parameterizer]
        if mode.task or (mode.weights and recipe.task):
            task_adapter(engine, recipe, progress)


def without_unready(engine: Engine, recipes: Mapping[Parameterizer, Recipe], modes: Iterable[str]) -> list[str]:
    """Returns the modes that can be asked at once; says on stderr which ones would first train a task adapter."""
    from ..modes import MODES
    from ..parameterize import task_ready

    modes = list(modes)
    unready = [
        mode for mode in modes if MODES[mode].task and not task_ready(engine, recipes[MODES[mode].parameterizer])
    ]
    if unready:
        complain(
            f"{', '.join(unready)}: left out, for want of a task adapter of this model and recipe, which is trained "
            f"once, in minutes to an hour; `paramrag ask DIR QUESTION --mode {unready[-1]}` does that",
            label="note",
        )
    return [mode for mode in modes if mode not in unready]


def has_predicted(collection: Collection, engine: Engine) -> bool:
    """Returns whether the collection holds predicted adapters for this model."""
    return any(
        record.base == engine.fingerprint and record.adapters and record.recipe.parameterizer == "dynamic"
        for record in collection.recipes()
    )
