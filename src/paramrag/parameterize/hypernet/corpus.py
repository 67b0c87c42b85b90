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
from ...infer.injection import BatchFactors, stack
from ...models import BaseModel
from ...store.layout import AdapterLayout
from ...types import Passage, Progress, TrainingItem
from ..invented import invented
from ..task import task_adapter
from ..trainer import Told
from ..workers import worked, worker_count
from .examples import Example, chosen_items, examples, load_examples, save_examples

Pairs = Sequence[tuple[Passage, Sequence[TrainingItem]]]

SHARD = 24
"""Passages of a shard."""
SHARDS_PER_WORKER = 2
"""Fewer are not worth the seconds that it takes to start a process."""
HELD_INVENTED = 48
"""Invented passages that are held out, fewer where few are trained on."""
TRAIN_SEED, HELD_SEED = 1, 1 << 20
"""Added to the recipe's seed for invented passages to learn from, and to hold out."""
HELD_EVERY, HELD_GIVEN = 10, 48
"""Of the collections' passages, one in so many is held out, but about so many at most."""


@dataclass(frozen=True)
class Corpus:
    """Examples, read once."""

    train: list[Example]
    held: list[Example]


def corpus(
    engine: Engine,
    recipe: Recipe,
    given: Pairs,
    folder: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Makes the examples that are not there yet, and reads all.

    Args:
        given: passages of the user's with their items.
        folder: for shards.
        workers: processes that read; None takes one per thread of torch on CPU, as memory allows, 1 elsewhere.
        progress: called as ("read", passages done, passages to do).
    """
    assert recipe.hypernet
    ordered = sorted(given, key=lambda pair: pair[0].id)
    invented_count, held_count = recipe.hypernet.passages, min(HELD_INVENTED, recipe.hypernet.passages)
    every = max(HELD_EVERY, len(ordered) // HELD_GIVEN)
    parts: dict[str, list[tuple[Passage, Sequence[TrainingItem]]]] = {
        "train": [
            *islice(invented(recipe.seed + TRAIN_SEED), invented_count),
            *(pair for at, pair in enumerate(ordered) if at % every),
        ],
        "held": [
            *islice(invented(recipe.seed + HELD_SEED), held_count),
            *(pair for at, pair in enumerate(ordered) if at % every == 0),
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    beneath = stack([task_adapter(engine, recipe)], engine.base) if recipe.task else None
    shards = {
        folder / f"{name}-{start // SHARD:05d}.safetensors": pairs[start : start + SHARD]
        for name, pairs in parts.items()
        for start in range(0, len(pairs), SHARD)
    }
    missing = [(path, pairs) for path, pairs in shards.items() if not path.is_file()]
    total = sum(map(len, parts.values()))
    done = total - sum(len(pairs) for _, pairs in missing)
    work = _Reading(recipe, engine.layout(recipe), beneath)
    count = worker_count(engine.base, workers, len(missing) // SHARDS_PER_WORKER)
    for size in worked(engine.base, work, missing, count, told=lambda _: None):
        done += size
        if progress:
            progress("read", done, total)
    read = {
        name: [one for path in shards if path.name.startswith(name) for one in load_examples(path)] for name in parts
    }
    return Corpus(read["train"], read["held"])


@dataclass(frozen=True, slots=True)
class _Reading:
    """The work on a shard; can be sent to workers."""

    recipe: Recipe
    layout: AdapterLayout
    beneath: BatchFactors | None

    def __call__(self, base: BaseModel, batch: tuple[Path, Pairs], *, told: Told) -> int:
        """Writes the shard; returns its number of passages."""
        path, pairs = batch
        assert self.recipe.hypernet
        chosen = [
            (passage, chosen_items(base, passage, items, self.recipe.hypernet.items, self.recipe.seed))
            for passage, items in pairs
        ]
        save_examples(path, examples(base, self.recipe, self.layout, chosen, self.beneath))
        return len(pairs)
