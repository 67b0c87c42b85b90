"""Adapters of shuffled text: what an adapter gives that has seen a passage's words, but nothing of what it says.

They are trained as the real ones are, under the same recipe and on the same questions, but the passage's words stand
in random order, and every answer is replaced by as many of them as it had. What they gain over no adapter is form,
not knowledge. They lie in a collection of their own, under the ids of the real passages, so that a pipeline takes them
for the real ones (`Conditions.source`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import NotFoundError
from ..parameterize import EncodeReport, Failed, StaticParameterizer, train
from ..parameterize.task import task_adapter
from ..store import Collection
from ..types import Adapter, Passage, Progress, TrainingItem


def control_of(collection: Collection) -> Collection:
    """Returns the collection of shuffled adapters beside a collection, with the same passages; made if absent."""
    directory = Path(collection.path).resolve()
    control = Collection.open(directory.with_name(f"{directory.name}.shuffled"))
    held = set(control.passage_ids())
    new = [passage for passage in collection.passages() if passage.id not in held]
    if new:
        control.add(new)
    return control


def encode_shuffled(
    parameterizer: StaticParameterizer,
    collection: Collection,
    control: Collection,
    passage_ids: Sequence[str],
    *,
    progress: Progress | None = None,
) -> EncodeReport:
    """Makes the adapters of shuffled text that `control` lacks; resumable batch by batch, as `encode` is.

    Args:
        parameterizer: whose recipe and training items are used; items that are missing are made and stored.
        collection: holds the real passages and their items.
        control: where the adapters go.
        passage_ids: which passages.
        progress: called as ("encode", passages done, passages to do).

    Raises:
        NotFoundError: a passage is not in the collection.
    """
    started = time.perf_counter()
    recipe, layout, base = parameterizer.recipe, parameterizer.layout, parameterizer.engine.base
    unknown = set(passage_ids).difference(control.passage_ids())
    if unknown:
        raise NotFoundError(f"the collection holds no passage {min(unknown)!r}; add its document first")
    control.put_recipe(recipe, parameterizer.engine.fingerprint, layout)
    encoded = control.encoded(parameterizer.engine.fingerprint, recipe.id)
    missing = [passage_id for passage_id in dict.fromkeys(passage_ids) if passage_id not in encoded]
    beneath = task_adapter(parameterizer.engine, recipe) if recipe.task and missing else None
    failed: list[Failed] = []
    count = 0
    for start in range(0, len(missing), parameterizer.batch_passages):
        passages = collection.passages(missing[start : start + parameterizer.batch_passages])
        items = parameterizer.items(collection, passages)
        batch = [shuffled(passage, items[passage.id]) for passage in passages]
        real = {fake.id: passage.id for (fake, _), passage in zip(batch, passages, strict=True)}
        made: list[Adapter] = []
        for result in train(base, recipe, layout, batch, beneath=beneath):
            if isinstance(result, Failed):
                failed.append(Failed(real[result.passage_id], result.reason))
                continue
            made.append(replace(result, key=replace(result.key, passage_id=real[result.key.passage_id])))
        if made:
            control.put_adapters(made)
        count += sum(len(items[adapter.key.passage_id]) for adapter in made)
        if progress:
            progress("encode", start + len(passages), len(missing))
    return EncodeReport(
        encoded=len(missing) - len(failed),
        present=len(set(passage_ids)) - len(missing),
        failed=tuple(failed),
        items=count,
        seconds=time.perf_counter() - started,
    )


def shuffled(passage: Passage, items: Sequence[TrainingItem]) -> tuple[Passage, list[TrainingItem]]:
    """Returns the passage with its words in random order, and its items with answers of such words.

    Questions stay; an answer of n words becomes n words that stand together in the shuffled text. The passage decides
    the order.
    """
    rng = np.random.default_rng(list(passage.id.encode()))
    words = passage.text.split()
    mixed = [words[index] for index in rng.permutation(len(words))]
    fake = replace(passage, text=" ".join(mixed))

    def drawn(answer: str) -> str:
        length = min(len(answer.split()), len(mixed))
        start = int(rng.integers(0, len(mixed) - length + 1))
        return " ".join(mixed[start : start + length])

    replaced = [replace(item, passage_id=fake.id, answer=drawn(item.answer), span=None) for item in items]
    return fake, replaced
