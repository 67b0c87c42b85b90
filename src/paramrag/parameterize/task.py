"""The task adapter: what all adapters of a recipe teach alike, trained once on passages that are nobody's.

An adapter trained on questions also learns to answer questions: shortly, and without refusing. The task adapter learns
that alone, from the shipped corpus of invented facts, read closed book and with the passage in the prompt. It is a
control wherever a gain is claimed for passages' adapters, and passages can be trained on top of it, so that their
adapters hold what is theirs (arXiv 2604.26768).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..aggregate import concat
from ..config import Recipe
from ..errors import TrainingError
from ..infer import Engine
from ..models.cache import build_once, cache_folder
from ..types import Adapter, Injection, Passage, TrainingItem
from .sequences import sequences
from .trainer import Failed, train_sequences

PASSAGES = 12
"""Passages of the shipped corpus that it learns from."""
EPOCHS = 2
"""Few passes: it is to learn how to answer, not these answers."""


def task_adapter(engine: Engine, recipe: Recipe) -> Injection:
    """Returns the task adapter of a model and recipe: trained the first time (about a minute), then from the cache."""
    recipe = _task_recipe(recipe)

    def build(folder: Path) -> None:
        from ..demo import demo_items, demo_passages

        items = demo_items()
        corpus = [(passage, items[passage.id]) for passage in demo_passages()[:PASSAGES]]
        np.save(folder / "row.npy", train_task(engine, recipe, corpus).row)

    folder = build_once(cache_folder() / "task" / f"{engine.fingerprint}-{recipe.id}", build)
    return concat(engine.layout(recipe), np.load(folder / "row.npy")[None], [1.0], recipe.activation)


def _task_recipe(recipe: Recipe) -> Recipe:
    """Returns what the task adapter is made under: the recipe without what passages' adapters alone depend on."""
    rank = recipe.task_rank or recipe.rank
    own = {"rank": rank, "alpha": recipe.alpha * rank / recipe.rank, "layers": recipe.task_layers or recipe.layers}
    off = {"task": False, "task_layers": "", "task_rank": 0, "hypernet": None, "checkpoint": "", "refine": 0}
    return recipe.model_copy(update=own | off)


def train_task(engine: Engine, recipe: Recipe, corpus: Sequence[tuple[Passage, Sequence[TrainingItem]]]) -> Adapter:
    """Trains one adapter on all items of a corpus, each asked closed book and with its passage in the prompt.

    Raises:
        TrainingError: a passage has no items, or the loss is not finite.
    """
    settings = {"training_set": "both", "epochs": EPOCHS, "nll_weight": 1.0, "kl_weight": 0.0, "state_weight": 0.0}
    learn = recipe.model_copy(update=settings)
    examples = [entry for passage, items in corpus for entry in sequences(engine.base, learn, passage, items)]
    whole = Passage("what the passages have in common", "task")
    made = train_sequences(engine.base, learn, engine.layout(learn), [(whole, examples)])[whole.id]
    if isinstance(made, Failed):
        raise TrainingError(f"the task adapter could not be trained: {made.reason}")
    return made
