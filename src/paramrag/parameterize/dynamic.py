"""Encodes a collection by prediction: a hypernetwork gives each passage's adapter in one pass, from the passage alone.

With `refine` the prediction is the start of a few steps on the passage's items, each in closed form
(`hypernet.solving`): it needs items, as training does, but none of its passes through the model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..augment import Augmenter
from ..errors import ConfigError
from ..infer import Engine
from ..infer.injection import stack
from ..store import Collection
from ..store.codec import check_dtype
from ..types import Adapter, AdapterKey, Passage, Progress, TrainingItem
from .hypernet import SHIPPED, Predictor, Readings, load_hypernet, read
from .hypernet.direct import DirectBatch
from .hypernet.examples import examples, one_each
from .hypernet.solving import solved
from .hypernet.tokens import TokenHypernet
from .static import EncodeReport, StaticParameterizer, missing_passages
from .task import task_adapter
from .trainer import Failed

BATCH_PASSAGES = 16
"""Passages predicted together, and stored in one commit."""


class DynamicParameterizer:
    """Passage -> adapter, by a trained hypernetwork."""

    def __init__(
        self,
        engine: Engine,
        hypernet: str | Path | Predictor = SHIPPED,
        *,
        refine: int = 0,
        augment: Augmenter | None = None,
        storage: str = "fp32",
    ) -> None:
        """Loads the hypernetwork.

        Args:
            engine: holds the base model.
            hypernet: folder of a checkpoint, or a loaded one; SHIPPED: the package's own for this base model.
            refine: steps from each prediction on; 0: the prediction itself, which needs no items.
            augment: makes training items for refining; None takes the recipe's augmenter.
            storage: how adapters are stored: fp32, fp16, bf16, int8 or int4.

        Raises:
            ConfigError: no checkpoint, an unknown storage, or nothing to refine: other layers than the last.
            MismatchError: the checkpoint is of another base model.
        """
        check_dtype(storage)
        self.engine = engine
        self.predictor = hypernet if isinstance(hypernet, Predictor) else load_hypernet(hypernet, engine)
        name = self.predictor.recipe.name + (f"+{refine}" if refine else "")
        self.recipe = self.predictor.recipe.model_copy(update={"refine": refine, "name": name})
        self.layout = self.predictor.layout
        network = self.predictor.network
        if refine and (not isinstance(network, TokenHypernet) or len(self.layout.layers) > 1):
            raise ConfigError(
                "only adapters of the last layer's down_proj, of encoder tokens, can be refined; "
                f"these are of {self.recipe.hypernet.encoder if self.recipe.hypernet else 'another'} and of "
                f"{len(self.layout.layers)} layers: leave refine out"
            )
        self._storage = storage
        self._static = StaticParameterizer(engine, self.recipe, augment=augment, storage=storage) if refine else None

    def predict(self, passages: Sequence[Passage]) -> np.ndarray:
        """Returns the adapter rows of passages, float32 [N, P]."""
        with torch.inference_mode():
            rows = self.predictor.network(self._readings(passages))
        found: np.ndarray = rows.numpy(force=True).astype(np.float32)
        return found

    def _readings(self, passages: Sequence[Passage]) -> Readings:
        assert self.recipe.hypernet
        return Readings.of(self.engine.base, read(self.engine.base, passages, self.recipe.hypernet.depths))

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
        if self._static:
            items = self._static.items(collection, passages)
            return self.refined([(one, items[one.id]) for one in passages]), sum(map(len, items.values()))
        started = time.perf_counter()
        rows = self.predict(passages)
        return [self._adapter(one, row, started) for one, row in zip(passages, rows, strict=True)], 0

    def refined(self, pairs: Sequence[tuple[Passage, Sequence[TrainingItem]]]) -> list[Adapter | Failed]:
        """Returns adapters predicted and then refined on the items of their passages, as many steps as asked for.

        Of items with the same answer one is read: with a prediction beneath, more wordings add little (docs/log.md).
        A passage without items comes back as Failed.
        """
        started, base, network = time.perf_counter(), self.engine.base, self.predictor.network
        assert isinstance(network, TokenHypernet)
        beneath = stack([task_adapter(self.engine, self.recipe)], base) if self.recipe.task else None
        some = [(passage, one_each(passage, items, self.recipe.seed)) for passage, items in pairs]
        found = {one.passage.id: one for one in examples(base, self.recipe, self.layout, some, beneath)}
        made: list[Adapter | Failed] = []
        for passage, _ in pairs:
            if passage.id not in found:
                reason = "add items for it, or leave --refine out"
                made.append(
                    Failed(passage.id, f"passage {passage.id} ({passage.title!r}) has no training item; {reason}")
                )
                continue
            with torch.no_grad():
                predicted = network.cut(Readings.of(base, [found[passage.id].reading]))
                batch = DirectBatch(base, self.layout, [found[passage.id]])
                after = solved(batch, predicted, self.layout.scale, self.layout.rank, self.recipe.refine)
                first, last = (float(batch.losses(factors)[0].mean()) for factors in (predicted, after))
            row = after.rows()[0].numpy(force=True).astype(np.float32)
            stats = {"steps": float(self.recipe.refine), "items": float(batch.items), "first_loss": first, "loss": last}
            made.append(self._adapter(passage, row, started, stats))
        return made

    def _adapter(
        self, passage: Passage, row: np.ndarray, started: float, stats: dict[str, float] | None = None
    ) -> Adapter:
        key = AdapterKey(passage.id, self.engine.fingerprint, self.recipe.id)
        told = {"steps": 0.0, **(stats or {}), "batch_seconds": time.perf_counter() - started}
        return Adapter(key, row, self.layout, told)
