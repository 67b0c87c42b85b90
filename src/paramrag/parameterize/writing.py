"""The writer adapter: how to word a question whose answer is known, trained once per model on the primer.

It serves the augmenter `writer`: the passage and an answer stand in the prompt, the adapter is on while the question is
written. It is an adapter like any other, of a higher rank and in all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..augment.prompts import asking_messages
from ..config import Recipe
from ..infer import Engine
from ..models.prompts import chat_ids
from ..primer import primer
from ..types import Injection, Passage, Progress, TrainingItem
from .model_adapter import model_adapter
from .sequences import TrainingSequence, sequences_after
from .shared import passes, train_shared

RECIPE = Recipe(name="writer", rank=8, layers="all", learning_rate=2e-3, epochs=3)
VERSION = 1
"""Raise it when what the adapter learns from changes."""
HELD_OUT = 14
"""Of so many passages of the primer one is not learnt from: there one can look at what it writes."""


def writer_adapter(engine: Engine, progress: Progress | None = None) -> Injection:
    """Returns the writer adapter of a model: shipped for the bundled one, else trained the first time."""
    return model_adapter(engine, RECIPE, f"writer-{VERSION}", lambda: train_writer(engine, learnt_from(), progress))


def learnt_from() -> list[tuple[Passage, tuple[TrainingItem, ...]]]:
    """Returns the passages of the primer that the shipped adapter knows."""
    return [entry for number, entry in enumerate(primer()) if number % HELD_OUT]


def train_writer(
    engine: Engine,
    corpus: Sequence[tuple[Passage, Sequence[TrainingItem]]],
    progress: Progress | None = None,
) -> np.ndarray:
    """Returns an adapter row float32 [P] that learnt to ask for the answers of a corpus's questions.

    Raises:
        TrainingError: there are no questions, or the loss is not finite.
    """
    random = np.random.default_rng(RECIPE.seed)
    steps = [
        [entry for at in chosen for entry in _examples(engine, *corpus[at])]
        for chosen in passes(len(corpus), RECIPE.epochs, random)
    ]
    return train_shared(
        engine.base,
        engine.layout(RECIPE),
        steps,
        learning_rate=RECIPE.learning_rate,
        seed=RECIPE.seed,
        progress=progress,
    )


def _examples(engine: Engine, passage: Passage, items: Sequence[TrainingItem]) -> list[TrainingSequence]:
    """Returns the questions of a passage as what is to be written after their answers; clozes are none."""
    asked = [item for item in items if item.kind == "qa"]
    prompts = [chat_ids(engine.base.tokenizer, asking_messages(passage, item.answer)) for item in asked]
    written = [replace(item, answer=item.question) for item in asked]
    return sequences_after(engine.base, RECIPE, prompts, written)
