"""Adapters of a collection as rows, and adapters trained beside them to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..config import Recipe
from ..errors import EvaluationError, TrainingError
from ..infer import Engine
from ..parameterize import StaticParameterizer
from ..parameterize.trainer import Failed, train
from ..store import AdapterLayout, Collection
from ..types import Passage, TrainingItem
from .similarity import Control, cross_cosines, whole_cosines


def adapters_of(
    collection: Collection, engine: Engine, recipe: Recipe, limit: int | None = None
) -> tuple[AdapterLayout, np.ndarray, list[str], list[str]]:
    """Returns the layout, the rows float32 [N, P], the passages' ids and a document of each.

    Args:
        limit: at most so many, whole documents first come.

    Raises:
        EvaluationError: there are fewer than two.
    """
    encoded = collection.encoded(engine.fingerprint, recipe.id)
    found: dict[str, str] = {}
    for document in collection.documents():
        for passage_id in document.passage_ids:
            if passage_id in encoded and (limit is None or len(found) < limit):
                found.setdefault(passage_id, document.id)
    if len(found) < 2:
        raise EvaluationError(
            f"the collection has {len(found)} adapters of recipe {recipe.name!r} for {engine.base.name}; expected at "
            "least 2 to compare: run `paramrag encode`"
        )
    rows = collection.gather(list(found), base=engine.fingerprint, recipe=recipe.id)
    return engine.layout(recipe), rows, list(found), list(found.values())


def trained_controls(
    collection: Collection, engine: Engine, recipe: Recipe, passage_ids: Sequence[str]
) -> tuple[Control, ...]:
    """Trains the passages again, and stores nothing.

    Returns:
        `two seeds`: each stored adapter with one of the same items and another seed, a ceiling for pairs of one
        document. `shuffled text`: adapters of different passages whose items' words were shuffled, a floor: what the
        recipe alone makes alike.

    Raises:
        EvaluationError: fewer than two passages have items.
        TrainingError: one cannot be trained.
    """
    known = StaticParameterizer(engine, recipe).known_items(collection, passage_ids)
    usable = [passage_id for passage_id in passage_ids if known.get(passage_id)]
    if len(usable) < 2:
        raise EvaluationError(
            f"{len(usable)} of {len(passage_ids)} passages have training items in the collection; expected at least 2"
        )
    passages = collection.passages(usable)
    stored = collection.gather(usable, base=engine.fingerprint, recipe=recipe.id)
    layout = engine.layout(recipe)
    reseeded = recipe.model_copy(update={"seed": recipe.seed + 1})
    again = _train(engine, reseeded, layout, [(passage, known[passage.id]) for passage in passages])
    rng = np.random.default_rng(recipe.seed)
    shuffled = [(passage, [_shuffled(item, rng) for item in known[passage.id]]) for passage in passages]
    noise = whole_cosines(layout, _train(engine, recipe, layout, shuffled))
    return (
        Control("two seeds", cross_cosines(layout, stored, again)),
        Control("shuffled text", noise[np.triu_indices(len(noise), 1)]),
    )


def _train(
    engine: Engine, recipe: Recipe, layout: AdapterLayout, batch: Sequence[tuple[Passage, Sequence[TrainingItem]]]
) -> np.ndarray:
    rows: dict[str, np.ndarray] = {}
    together = StaticParameterizer(engine, recipe).batch_passages
    for start in range(0, len(batch), together):
        for result in train(engine.base, recipe, layout, batch[start : start + together]):
            if isinstance(result, Failed):
                raise TrainingError(f"passage {result.passage_id} could not be trained again: {result.reason}")
            rows[result.key.passage_id] = result.row
    return np.stack([rows[passage.id] for passage, _ in batch])


def _shuffled(item: TrainingItem, rng: np.random.Generator) -> TrainingItem:
    """The item with the words of question and answer mixed, as many in each as before."""
    words = [*item.question.split(), *item.answer.split()]
    mixed = [words[at] for at in rng.permutation(len(words))]
    cut = len(item.question.split())
    return replace(item, question=" ".join(mixed[:cut]), answer=" ".join(mixed[cut:]), span=None)
