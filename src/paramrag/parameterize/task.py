"""The task adapter: what all adapters of a recipe teach alike, trained once per model on passages that are nobody's.

An adapter trained on questions also learns to answer questions: shortly, without refusing, from the right one of
several passages. The task adapter learns that alone, from the primer, whose facts are invented. It is a control
wherever a gain is claimed for passages' adapters, and passages can be trained on top of it, so that their adapters
hold what is theirs (arXiv 2604.26768).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config import Recipe, load_recipe
from ..infer import Engine
from ..models import BaseModel
from ..primer import primer
from ..types import Injection, Passage, Progress, TrainingItem
from .model_adapter import is_ready, model_adapter
from .sequences import TrainingSequence, sequences_with
from .shared import passes, train_shared

EPOCHS = 1
"""One pass: it is to learn how to answer, not these answers."""
SHOWN = (3, 3, 3, 1, 0)
"""How many passages stand in the prompt, drawn for each passage and pass: mostly as retrieval gives them, the right one
among others; none is closed book."""
VERSION = 2
"""Raise it when what the adapter learns from changes."""
_KIND = f"task-{VERSION}"


def task_adapter(engine: Engine, recipe: Recipe, progress: Progress | None = None) -> Injection:
    """Returns the task adapter of a model and recipe: shipped for the bundled model and the default recipe.

    Others are trained the first time, which takes some minutes, and then come from the cache.
    """
    recipe = _task_recipe(recipe)
    return model_adapter(engine, recipe, _KIND, lambda: train_task(engine, recipe, primer(), progress))


def task_ready(engine: Engine, recipe: Recipe) -> bool:
    """Returns whether the task adapter is there, so that nobody has to wait for it."""
    return is_ready(engine, _task_recipe(recipe), _KIND)


def _task_recipe(recipe: Recipe) -> Recipe:
    """Returns what the task adapter is made under: the recipe without what passages' adapters alone depend on."""
    own = load_recipe(recipe.task_recipe) if recipe.task_recipe else recipe
    off = {"task": False, "task_recipe": "", "hypernet": None, "checkpoint": "", "refine": 0}
    return own.model_copy(update=off)


def train_task(
    engine: Engine,
    recipe: Recipe,
    corpus: Sequence[tuple[Passage, Sequence[TrainingItem]]],
    progress: Progress | None = None,
) -> np.ndarray:
    """Returns one adapter row float32 [P] that learnt from all items of a corpus.

    Raises:
        TrainingError: there are no items, or the loss is not finite.
    """
    random = np.random.default_rng(recipe.seed)
    steps = [
        [entry for at in chosen for entry in _examples(engine.base, recipe, corpus, at, random)]
        for chosen in passes(len(corpus), EPOCHS, random)
    ]
    return train_shared(
        engine.base,
        engine.layout(recipe),
        steps,
        learning_rate=recipe.learning_rate,
        clip=recipe.clip,
        seed=recipe.seed,
        progress=progress,
    )


def _examples(
    base: BaseModel,
    recipe: Recipe,
    corpus: Sequence[tuple[Passage, Sequence[TrainingItem]]],
    at: int,
    random: np.random.Generator,
) -> list[TrainingSequence]:
    """Returns the items of one passage, all with the same passages in the prompt, in the same order."""
    passage, items = corpus[at]
    count = int(random.choice(SHOWN))
    others = [number for number in random.permutation(len(corpus)).tolist() if number != at][: max(0, count - 1)]
    shown = [corpus[number][0] for number in others]
    if count:
        shown.insert(int(random.integers(len(shown) + 1)), passage)
    return sequences_with(base, recipe, items, shown)
