"""The passages a hypernetwork is trained on and held to: invented ones, and those of collections with their items.

Held-out passages are never trained on; invented ones come from another seed, those of collections are one in ten.
Examples are made shard by shard in the checkpoint's folder, and found there by the next run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ...config import Recipe
from ...infer import Engine
from ...infer.injection import stack
from ...types import Passage, Progress, TrainingItem
from ..invented import invented
from ..task import task_adapter
from .examples import Example, chosen_items, examples, load_examples, save_examples

Pairs = Sequence[tuple[Passage, Sequence[TrainingItem]]]

SHARD = 24
"""Passages of a shard."""
HELD_INVENTED = 48
"""Invented passages that are held out, fewer where few are trained on."""
TRAIN_SEED, HELD_SEED = 1, 1 << 20
"""Added to the recipe's seed for invented passages to learn from, and to hold out."""
HELD_EVERY = 10
"""Of a collection's passages, one in so many is held out."""


@dataclass(frozen=True)
class Corpus:
    """Examples, read once."""

    train: list[Example]
    held: list[Example]


def corpus(engine: Engine, recipe: Recipe, given: Pairs, folder: Path, progress: Progress | None = None) -> Corpus:
    """Makes the examples that are not there yet, and reads all.

    Args:
        given: passages of the user's with their items.
        folder: for shards.
        progress: called as ("read", passages done, passages to do).
    """
    assert recipe.hypernet
    ordered = sorted(given, key=lambda pair: pair[0].id)
    count, held_count = recipe.hypernet.passages, min(HELD_INVENTED, recipe.hypernet.passages)
    parts: dict[str, list[tuple[Passage, Sequence[TrainingItem]]]] = {
        "train": [
            *islice(invented(recipe.seed + TRAIN_SEED), count),
            *(pair for at, pair in enumerate(ordered) if at % HELD_EVERY),
        ],
        "held": [
            *islice(invented(recipe.seed + HELD_SEED), held_count),
            *(pair for at, pair in enumerate(ordered) if at % HELD_EVERY == 0),
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    layout = engine.layout(recipe)
    beneath = stack([task_adapter(engine, recipe)], engine.base) if recipe.task else None
    total, done = sum(map(len, parts.values())), 0
    read: dict[str, list[Example]] = {name: [] for name in parts}
    for name, pairs in parts.items():
        for start in range(0, len(pairs), SHARD):
            shard = folder / f"{name}-{start // SHARD:05d}.safetensors"
            if not shard.is_file():
                chosen = [
                    (passage, chosen_items(engine.base, passage, items, recipe.hypernet.items, recipe.seed))
                    for passage, items in pairs[start : start + SHARD]
                ]
                save_examples(shard, examples(engine.base, recipe, layout, chosen, beneath))
            read[name] += load_examples(shard)
            done += len(pairs[start : start + SHARD])
            if progress:
                progress("read", done, total)
    return Corpus(read["train"], read["held"])
