"""Encodes a collection by training: what is missing is made, batch by batch, each batch stored as it is done.

A killed run loses at most the batch it was in; running it again goes on. Items that the user put into the collection
for a passage come first; the augmenter makes those of the others, and they are stored before training, so paid-for
items are never made twice.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch

from ..augment import Augmenter, augmenter
from ..config import Recipe, load_recipe
from ..errors import ConfigError, NotFoundError
from ..infer import Engine
from ..models import BaseModel
from ..store import Collection
from ..store.codec import check_dtype, size_bytes
from ..store.layout import AdapterLayout
from ..types import Adapter, Injection, Passage, Progress, TrainingItem
from .budget import MEMORY
from .sequences import sequences
from .task import task_adapter
from .trainer import Failed, Told, train
from .workers import worked, worker_count

GIVEN_ITEMS = "items"
"""Augmentation id under which users put training items of their own: the recipe's augmenters `auto` and `items` take
them."""
BATCH_PASSAGES = {"cpu": 16, "cuda": 32}
"""Passages trained together at most, by kind of device: enough rows to keep it busy, little to lose to a kill."""
SAMPLE_PASSAGES = 4
"""Passages that are timed for an estimate."""
Batch = Sequence[tuple[Passage, Sequence[TrainingItem]]]
PASSAGES_PER_WORKER = 4
"""Fewer are not worth the seconds that it takes to start a process."""


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What `encode` did."""

    encoded: int
    """Adapters made."""
    present: int
    """Passages that had one already."""
    failed: tuple[Failed, ...]
    """Passages without one, and why."""
    items: int
    """Training items used."""
    seconds: float
    """Wall time."""


@dataclass(frozen=True, slots=True)
class EncodeEstimate:
    """What `encode` would do, before it does it."""

    passages: int
    """Adapters to make."""
    present: int
    """Passages that have one already."""
    unaugmented: int
    """Passages that need training items first."""
    seconds: float
    """Training time on this machine, from a timed sample; making the items not counted."""
    bytes: int
    """Size of the new adapters."""
    tokens: int
    """Tokens in one pass over all items."""


@dataclass(frozen=True, slots=True)
class Training:
    """The work on a batch: adapters of its passages, in their order; can be sent to workers."""

    recipe: Recipe
    layout: AdapterLayout
    memory: int
    beneath: Injection | None

    def __call__(self, base: BaseModel, batch: Batch, *, told: Told) -> list[Adapter | Failed]:
        return list(train(base, self.recipe, self.layout, batch, memory=self.memory, beneath=self.beneath, told=told))


class _Advance:
    """Tells how far encoding is, in whole passages: those stored, and what is done of those in training."""

    def __init__(self, passages: int, progress: Progress | None) -> None:
        self._passages, self._progress = passages, progress
        self._lock = threading.Lock()
        self._stored, self._trained, self._told = 0, 0.0, -1
        self._tell()

    def trained(self, passages: float) -> None:
        """Takes note of training done; called from several threads."""
        with self._lock:
            self._trained += passages
            self._tell()

    def stored(self, passages: int) -> None:
        """Takes note of adapters stored."""
        with self._lock:
            self._stored += passages
            self._trained = max(self._trained, float(self._stored))
            self._tell()

    def _tell(self) -> None:
        done = max(self._stored, min(self._passages - 1, int(self._trained)))  # the last is told when it is stored
        if self._progress and done > self._told:
            self._progress("encode", done, self._passages)
            self._told = done


class StaticParameterizer:
    """Passage -> adapter, by training on the passage's items."""

    def __init__(
        self,
        engine: Engine,
        recipe: str | Recipe = "default",
        *,
        augment: Augmenter | None = None,
        storage: str = "fp32",
        workers: int | None = None,
        memory: int = MEMORY,
    ) -> None:
        """Settles how adapters are made.

        Args:
            engine: holds the base model.
            recipe: shipped name, YAML file or recipe.
            augment: makes training items; None takes the recipe's augmenter.
            storage: how adapters are stored: fp32, fp16, bf16, int8 or int4.
            workers: processes that train; None takes one per thread of torch on CPU, as memory allows, 1 elsewhere.
            memory: bytes that training may use beside the models.

        Raises:
            ConfigError: unknown recipe, augmenter or storage; workers below 1.
        """
        if workers is not None and workers < 1:
            raise ConfigError(f"workers is {workers}; expected 1 or more processes")
        check_dtype(storage)
        self.engine = engine
        self.recipe = load_recipe(recipe)
        self.layout = engine.layout(self.recipe)
        self._storage, self._workers, self._memory = storage, workers, memory
        self.batch_passages = BATCH_PASSAGES.get(engine.base.device.type, BATCH_PASSAGES["cuda"])
        settings = self.recipe.augmentation
        self._takes_given = settings.augmenter in ("auto", GIVEN_ITEMS)
        self._augment = augment
        if augment is None and settings.augmenter != GIVEN_ITEMS:
            self._augment = augmenter(
                settings.augmenter,
                engine=engine,
                questions=settings.questions,
                rewrites=settings.rewrites,
                seed=self.recipe.seed,
            )

    def encode(
        self, collection: Collection, passage_ids: Sequence[str] | None = None, *, progress: Progress | None = None
    ) -> EncodeReport:
        """Makes the missing adapters of a collection, or of some of its passages.

        Args:
            progress: called as ("encode", passages done, passages to do).

        Raises:
            NotFoundError: a passage is not in the collection.
        """
        started = time.perf_counter()
        wanted, missing = self._missing(collection, passage_ids)
        collection.put_recipe(self.recipe, self.engine.fingerprint, self.layout)
        failed: list[Failed] = []
        items_used: dict[str, int] = {}
        advance = _Advance(len(missing), progress)
        size = self._batch_size(len(missing))

        def batches() -> Iterator[list[tuple[Passage, list[TrainingItem]]]]:
            for start in range(0, len(missing), size):
                passages = collection.passages(missing[start : start + size])
                items = self.items(collection, passages)
                items_used.update((key, len(own)) for key, own in items.items())
                yield [(passage, items[passage.id]) for passage in passages]

        with closing(self._train(batches(), len(missing), advance.trained)) as trained:
            for results in trained:
                made = [result for result in results if isinstance(result, Adapter)]
                failed += [result for result in results if isinstance(result, Failed)]
                if made:
                    collection.put_adapters(made, dtype=self._storage)
                advance.stored(len(results))
        return EncodeReport(
            encoded=len(missing) - len(failed),
            present=len(wanted) - len(missing),
            failed=tuple(failed),
            items=sum(items_used.values()) - sum(items_used[entry.passage_id] for entry in failed),
            seconds=time.perf_counter() - started,
        )

    def estimate(self, collection: Collection, passage_ids: Sequence[str] | None = None) -> EncodeEstimate:
        """Returns what `encode` would cost; trains a few passages for one step each to time it, and stores nothing."""
        wanted, missing = self._missing(collection, passage_ids)
        known = self.known_items(collection, missing)
        seconds, tokens = 0.0, 0
        sample = missing[:SAMPLE_PASSAGES]
        if sample:
            passages = collection.passages(sample)
            items = {p.id: known.get(p.id) or _stand_ins(p, self.recipe.augmentation.questions) for p in passages}
            lengths = [
                len(sequence.context) + len(sequence.tail)
                for p in passages
                for sequence in sequences(self.engine.base, self.recipe, p, items[p.id])
            ]
            tokens = round(sum(lengths) / len(sample) * len(missing))
            once = self.recipe.model_copy(update={"epochs": 1})
            timings = []
            workers = self._worker_count(len(missing))
            with _threads(1 if workers > 1 else torch.get_num_threads()):
                for recipe in (once, once.model_copy(update={"epochs": 3})):
                    started = time.perf_counter()
                    list(train(self.engine.base, recipe, self.layout, [(p, items[p.id]) for p in passages]))
                    timings.append(time.perf_counter() - started)
            per_epoch = max(0.0, timings[1] - timings[0]) / 2
            batch_seconds = timings[0] + per_epoch * (self.recipe.epochs - 1)
            seconds = batch_seconds * len(missing) / len(sample) / workers
        return EncodeEstimate(
            passages=len(missing),
            present=len(wanted) - len(missing),
            unaugmented=len(missing) - len(known),
            seconds=seconds,
            bytes=len(missing) * size_bytes(self.layout, self._storage),
            tokens=tokens,
        )

    def _train(self, batches: Iterable[Batch], passages: int, told: Told) -> Generator[list[Adapter | Failed]]:
        """Yields the results of batches, in no order, from this process or from workers."""
        base = self.engine.base
        workers = self._worker_count(passages)
        beneath = task_adapter(self.engine, self.recipe) if self.recipe.task and passages else None
        work = Training(self.recipe, self.layout, self._memory // workers, beneath)
        yield from worked(base, work, batches, workers, told)

    def _batch_size(self, passages: int) -> int:
        """Returns how many passages are trained together: as many as may be, in equal shares for the workers."""
        workers = self._worker_count(passages)
        rounds = math.ceil(passages / (self.batch_passages * workers))
        return max(1, math.ceil(passages / max(1, rounds * workers)))

    def _worker_count(self, passages: int) -> int:
        return worker_count(self.engine.base, self._workers, passages // PASSAGES_PER_WORKER)

    def _missing(self, collection: Collection, passage_ids: Sequence[str] | None) -> tuple[list[str], list[str]]:
        return missing_passages(collection, self.engine.fingerprint, self.recipe.id, passage_ids)

    def known_items(self, collection: Collection, passage_ids: Sequence[str]) -> dict[str, list[TrainingItem]]:
        """Returns the items the collection holds for this recipe; passages without any are not there."""
        known = collection.items(passage_ids, GIVEN_ITEMS) if self._takes_given else {}
        if self._augment:
            others = [passage_id for passage_id in passage_ids if passage_id not in known]
            known |= collection.items(others, self._augment.id)
        return known

    def items(self, collection: Collection, passages: Sequence[Passage]) -> dict[str, list[TrainingItem]]:
        """Returns the training items of every passage, by id; those that have to be made are stored."""
        known = self.known_items(collection, [passage.id for passage in passages])
        new = [passage for passage in passages if passage.id not in known]
        if new and self._augment:
            made = dict(zip((passage.id for passage in new), self._augment(new), strict=True))
            unreachable = {failed.passage_id for failed in self._augment.report.failed}
            kept = {key: items for key, items in made.items() if items or key not in unreachable}
            collection.put_items(self._augment.id, kept)  # what failed is asked for again next time
            known |= made
        return {passage.id: known.get(passage.id, []) for passage in passages}


def missing_passages(
    collection: Collection, base: str, recipe_id: str, passage_ids: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Returns the passages that are meant (None: all), and those of them that have no adapter.

    Raises:
        NotFoundError: a passage is not in the collection.
    """
    held = collection.passage_ids()
    wanted = held if passage_ids is None else list(dict.fromkeys(passage_ids))
    unknown = set(wanted).difference(held)
    if unknown:
        raise NotFoundError(f"the collection holds no passage {min(unknown)!r}; add its document first")
    encoded = collection.encoded(base, recipe_id)
    return wanted, [passage_id for passage_id in wanted if passage_id not in encoded]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Lets torch use so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _stand_ins(passage: Passage, count: int) -> list[TrainingItem]:
    """Items of typical size, to time training before there are real ones."""
    words = passage.text.split() or ["x"]
    return [
        TrainingItem(passage.id, " ".join(words[at : at + 10]) or "x", " ".join(words[at + 10 : at + 13]) or words[0])
        for at in range(max(1, count))
    ]
