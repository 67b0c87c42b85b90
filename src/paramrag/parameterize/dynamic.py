"""Encodes a collection by prediction: a hypernetwork gives each passage's adapter in one pass, from the passage alone.

With `refine` the prediction is the start of a few training steps on the passage's items, instead of the common start
that `static` trains from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..augment import Augmenter
from ..infer import Engine
from ..store import Collection
from ..store.codec import check_dtype
from ..types import Adapter, AdapterKey, Passage, Progress, TrainingItem
from .hypernet import Predictor, Readings, load_hypernet, read
from .static import EncodeReport, StaticParameterizer, missing_passages
from .task import task_adapter
from .trainer import Failed, train

BATCH_PASSAGES = 4
"""Passages predicted together, and stored in one commit."""


class DynamicParameterizer:
    """Passage -> adapter, by a trained hypernetwork."""

    def __init__(
        self,
        engine: Engine,
        hypernet: str | Path | Predictor,
        *,
        refine: int = 0,
        augment: Augmenter | None = None,
        storage: str = "fp32",
    ) -> None:
        """Loads the hypernetwork.

        Args:
            engine: holds the base model.
            hypernet: folder of a checkpoint, or a loaded one.
            refine: training steps from each prediction on; 0: the prediction itself, which needs no items.
            augment: makes training items for refining; None takes the recipe's augmenter.
            storage: how adapters are stored: fp32, fp16, bf16, int8 or int4.

        Raises:
            ConfigError: no checkpoint, or an unknown storage.
            MismatchError: the checkpoint is of another base model.
        """
        check_dtype(storage)
        self.engine = engine
        self.predictor = hypernet if isinstance(hypernet, Predictor) else load_hypernet(hypernet, engine)
        name = self.predictor.recipe.name + (f"+{refine}" if refine else "")
        self.recipe = self.predictor.recipe.model_copy(update={"refine": refine, "name": name})
        self.layout = self.predictor.layout
        self._storage = storage
        self._static = StaticParameterizer(engine, self.recipe, augment=augment, storage=storage) if refine else None

    def predict(self, passages: Sequence[Passage]) -> np.ndarray:
        """Returns the adapter rows of passages, float32 [N, P]."""
        assert self.recipe.hypernet
        readings = read(self.engine.base, passages, self.recipe.hypernet.depths)
        with torch.inference_mode():
            rows = self.predictor.network(Readings.of(readings, self.engine.base.device))
        found: np.ndarray = rows.numpy(force=True).astype(np.float32)
        return found

    def encode(
        self, collection: Collection, passage_ids: Sequence[str] | None = None, *, progress: Progress | None = None
    ) -> EncodeReport:
        """Makes the missing adapters of a collection, or of some of its passages.

        Args:
            progress: called as ("predict", passages done, passages to do).

        Raises:
            NotFoundError: a passage is not in the collection.
        """
        started = time.perf_counter()
        wanted, missing = missing_passages(collection, self.engine.fingerprint, self.recipe.id, passage_ids)
        collection.put_recipe(self.recipe, self.engine.fingerprint, self.layout)
        failed: list[Failed] = []
        items = 0
        for start in range(0, len(missing), BATCH_PASSAGES):
            passages = collection.passages(missing[start : start + BATCH_PASSAGES])
            made, used = self._adapters(collection, passages)
            failed += [one for one in made if isinstance(one, Failed)]
            collection.put_adapters([one for one in made if isinstance(one, Adapter)], dtype=self._storage)
            items += used
            if progress:
                progress("predict", start + len(passages), len(missing))
        return EncodeReport(
            encoded=len(missing) - len(failed),
            present=len(wanted) - len(missing),
            failed=tuple(failed),
            items=items,
            seconds=time.perf_counter() - started,
        )

    def _adapters(self, collection: Collection, passages: Sequence[Passage]) -> tuple[list[Adapter | Failed], int]:
        """Returns an adapter for each passage, and how many items that took."""
        started = time.perf_counter()
        rows = self.predict(passages)
        if self._static:
            items = self._static.items(collection, passages)
            return list(self.refined([(one, items[one.id]) for one in passages], rows)), sum(map(len, items.values()))
        stats = {"steps": 0.0, "batch_seconds": time.perf_counter() - started}
        keys = [AdapterKey(passage.id, self.engine.fingerprint, self.recipe.id) for passage in passages]
        return [Adapter(key, row, self.layout, stats) for key, row in zip(keys, rows, strict=True)], 0

    def refined(
        self, pairs: Sequence[tuple[Passage, Sequence[TrainingItem]]], rows: np.ndarray
    ) -> Iterator[Adapter | Failed]:
        """Trains predicted rows [N, P] for the recipe's `refine` steps, each on all items of the passage.

        Reading the items' questions takes most of the time, however few are then used.
        """
        start = {passage.id: row for (passage, _), row in zip(pairs, rows, strict=True)}
        beneath = task_adapter(self.engine, self.recipe) if self.recipe.task else None
        assert self.recipe.hypernet
        settings = {"learning_rate": self.recipe.hypernet.refine_rate, "batch_items": 0}
        recipe = self.recipe.model_copy(update=settings)
        for made in train(self.engine.base, recipe, self.layout, pairs, beneath=beneath, start=start):
            if isinstance(made, Adapter):
                yield replace(made, key=replace(made.key, recipe=self.recipe.id))
            else:
                yield made
