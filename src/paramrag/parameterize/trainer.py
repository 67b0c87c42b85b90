"""Trains many adapters at once over one frozen model: the stacked trainer.

N passages form one parameter [N, P]; every sequence of a batch runs through its own passage's row. The loss is the sum
over passages of each passage's mean over its labels, and clipping and AdamW work per row, so the result equals N
separate runs, in whatever company a passage is trained. What does not depend on the adapters is computed once
(`replay`); sequences of similar length run together, so little is padded; finished passages leave.

Shapes: N passages, P numbers per row, S sequences of a micro-batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..config import Recipe
from ..errors import TrainingError
from ..infer.injection import BatchFactors, injected
from ..models import BaseModel
from ..store.layout import AdapterLayout
from ..types import Adapter, AdapterKey, Passage, TrainingItem, content_hash
from .optimizer import StackedAdamW
from .replay import Replay
from .sequences import TrainingSequence, sequences

MICRO_BATCH_TOKENS = 1024
"""Tail tokens, padding counted, that run through the layers together; bounds the memory of a step."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A passage whose adapter could not be trained."""

    passage_id: str
    """Which passage."""
    reason: str
    """Why, and what to do."""


@dataclass(slots=True)
class _Job:
    """One passage in training."""

    passage: Passage
    examples: list[TrainingSequence]
    random: np.random.Generator
    order: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    least: np.ndarray = field(default_factory=lambda: np.zeros(0))  # per example: its least likely label
    finished: bool = False

    def take(self, count: int) -> list[int]:
        """Returns the next examples' numbers; a pass over all of them in a new order each time."""
        if count == 0:
            return list(range(len(self.examples)))
        if not self.order:
            self.order = list(self.random.permutation(len(self.examples)))
        taken, self.order = self.order[:count], self.order[count:]
        return taken


@dataclass(slots=True)
class _MicroBatch:
    """Sequences that run together, with where they belong."""

    owners: torch.Tensor  # int64 [S]: row of the stacked parameter
    members: list[tuple[int, int]]  # [S]: (job number, example number)
    replay: Replay


def initial_row(layout: AdapterLayout, seed: int) -> np.ndarray:
    """Returns a fresh adapter row float32 [P]: A uniform in +-1/sqrt(in), as PEFT; B zero.

    All passages of a recipe start from the same row, as in arXiv 2501.15915.
    """
    random = np.random.default_rng([seed, 0xA])
    row = np.zeros(layout.size, dtype=np.float32)
    for block in layout.blocks():
        if block.factor == "a":
            bound = block.shape[2] ** -0.5
            row[block.start : block.stop] = random.uniform(-bound, bound, block.stop - block.start)
    return row


def train(
    base: BaseModel, recipe: Recipe, layout: AdapterLayout, batch: Sequence[tuple[Passage, Sequence[TrainingItem]]]
) -> Iterator[Adapter | Failed]:
    """Trains one adapter per passage, all at once; yields them in the order given.

    A passage without items, or whose loss stops being finite even at a lower learning rate, comes back as Failed; the
    others are not affected.
    """
    results: dict[str, Adapter | Failed] = {}
    jobs: list[tuple[Passage, list[TrainingSequence]]] = []
    for passage, items in batch:
        try:
            jobs.append((passage, sequences(base, recipe, passage, items)))
        except TrainingError as error:
            results[passage.id] = Failed(passage.id, str(error))
    for rate in (recipe.learning_rate, recipe.learning_rate / 4):
        if jobs:
            trained = _Run(base, recipe, layout, jobs, rate).run()
            results.update(trained)
            jobs = [(passage, examples) for passage, examples in jobs if passage.id not in trained]
    for passage, _ in jobs:
        results[passage.id] = Failed(
            passage.id,
            f"passage {passage.id} ({passage.title!r}): the loss is not finite, at learning rate "
            f"{recipe.learning_rate:g} and at a quarter of it; lower learning_rate in the recipe",
        )
    for passage, _ in batch:
        yield results[passage.id]


class _Run:
    """One stacked training of jobs at one learning rate."""

    def __init__(
        self,
        base: BaseModel,
        recipe: Recipe,
        layout: AdapterLayout,
        jobs: Sequence[tuple[Passage, list[TrainingSequence]]],
        learning_rate: float,
    ) -> None:
        self._base, self._recipe, self._layout, self._rate = base, recipe, layout, learning_rate
        self._jobs = [
            _Job(
                passage,
                examples,
                np.random.default_rng([recipe.seed, int(content_hash(passage.id, length=15), 16)]),
                least=np.zeros(len(examples)),
            )
            for passage, examples in jobs
        ]
        start = torch.from_numpy(initial_row(layout, recipe.seed)).to(base.device)
        self._rows = start.repeat(len(self._jobs), 1)
        self._optimizer = StackedAdamW(self._rows, weight_decay=recipe.weight_decay, clip=recipe.clip)
        self._active = list(range(len(self._jobs)))  # job numbers, one per row

    def run(self) -> dict[str, Adapter]:
        """Returns the adapters that were trained; a job whose loss was not finite is missing."""
        started = time.perf_counter()
        done: dict[str, Adapter] = {}
        step = 0
        micro_batches: list[_MicroBatch] = []
        chosen: dict[int, list[int]] = {}
        while self._active:
            if not micro_batches or self._recipe.batch_items:
                chosen = {number: self._jobs[number].take(self._recipe.batch_items) for number in self._active}
                micro_batches = self._micro_batches(chosen)
            gradient, losses = self._gradient(micro_batches)
            leaving: list[int] = []
            for row, number in enumerate(self._active):
                job = self._jobs[number]
                job.losses.append(losses[row])
                if not np.isfinite(losses[row]):
                    leaving.append(row)
                elif self._recipe.stop_probability and job.least.min() >= self._recipe.stop_probability:
                    leaving.append(row)
                    done[job.passage.id] = self._adapter(row, job, started)
            if leaving:
                gradient = self._leave(leaving, gradient)
                micro_batches = []
                if not self._active:
                    break
            self._optimizer.step(self._rows, gradient, self._learning_rate(step))
            step += 1
            over = [row for row, number in enumerate(self._active) if step >= self._planned_steps(number)]
            for row in over:
                job = self._jobs[self._active[row]]
                done[job.passage.id] = self._adapter(row, job, started)
            if over:
                self._leave(over, gradient)
                micro_batches = []
        return done

    def _planned_steps(self, number: int) -> int:
        size = self._recipe.batch_items or len(self._jobs[number].examples)
        return self._recipe.epochs * -(-len(self._jobs[number].examples) // size)

    def _learning_rate(self, step: int) -> float:
        if self._recipe.schedule == "constant":
            return self._rate
        longest = max(self._planned_steps(number) for number in self._active)
        return self._rate * max(0.0, 1.0 - step / longest)

    def _micro_batches(self, chosen: dict[int, list[int]]) -> list[_MicroBatch]:
        """Groups the chosen sequences by tail length, within the token budget."""
        row_of = {number: row for row, number in enumerate(self._active)}
        members = sorted(
            ((number, example) for number, examples in chosen.items() for example in examples),
            key=lambda member: (len(self._jobs[member[0]].examples[member[1]].tail), member),
        )
        groups: list[list[tuple[int, int]]] = []
        for member in members:
            length = len(self._jobs[member[0]].examples[member[1]].tail)
            if groups and length * (len(groups[-1]) + 1) <= MICRO_BATCH_TOKENS:
                groups[-1].append(member)
            else:
                groups.append([member])
        return [
            _MicroBatch(
                torch.tensor([row_of[number] for number, _ in group], device=self._base.device),
                group,
                Replay(
                    self._base,
                    [self._jobs[number].examples[example] for number, example in group],
                    self._layout.layers[0],
                ),
            )
            for group in groups
        ]

    def _gradient(self, micro_batches: Sequence[_MicroBatch]) -> tuple[torch.Tensor, list[float]]:
        """Returns the gradient [N, P] and each passage's loss."""
        rows = self._rows.detach().requires_grad_(True)
        losses = torch.zeros(len(self._active), device=self._base.device)
        owners = torch.cat([batch.owners[batch.replay.row_of_label] for batch in micro_batches])
        labels = torch.bincount(owners, minlength=len(self._active))  # per passage, over all micro-batches
        for batch in micro_batches:
            with injected(self._base, self._factors(rows, batch)):
                logits_MV = batch.replay.logits()
            label_losses = torch.nn.functional.cross_entropy(logits_MV.float(), batch.replay.labels, reduction="none")
            owner_M = batch.owners[batch.replay.row_of_label]
            torch.autograd.backward((label_losses / labels[owner_M]).sum())
            losses.index_add_(0, owner_M, label_losses.detach() / labels[owner_M])
            self._remember(batch, label_losses.detach())
        gradient = rows.grad
        assert gradient is not None
        return gradient, losses.tolist()

    def _factors(self, rows: torch.Tensor, batch: _MicroBatch) -> BatchFactors:
        a: dict[str, torch.Tensor] = {}
        b: dict[str, torch.Tensor] = {}
        for name, (a_NLrI, b_NLrO) in self._layout.views(rows).items():
            a[name] = a_NLrI.transpose(0, 1)[:, batch.owners].to(self._base.dtype)
            b[name] = (b_NLrO.transpose(0, 1)[:, batch.owners] * self._layout.scale).to(self._base.dtype)
        return BatchFactors(self._layout.layers, a, b)

    def _remember(self, batch: _MicroBatch, label_losses: torch.Tensor) -> None:
        worst = torch.zeros(len(batch.members), device=label_losses.device)
        worst = worst.scatter_reduce(0, batch.replay.row_of_label, label_losses, "amax")
        for (number, example), loss in zip(batch.members, worst.tolist(), strict=True):
            self._jobs[number].least[example] = np.exp(-loss)

    def _leave(self, rows: Sequence[int], gradient: torch.Tensor) -> torch.Tensor:
        """Takes rows out of the batch; returns the gradient of those that stay."""
        gone = set(rows)
        stay = torch.tensor([row for row in range(len(self._active)) if row not in gone], device=self._base.device)
        self._active = [number for row, number in enumerate(self._active) if row not in gone]
        stay = stay.long()
        self._rows = self._rows[stay]
        self._optimizer.keep(stay)
        return gradient[stay]

    def _adapter(self, row: int, job: _Job, started: float) -> Adapter:
        return Adapter(
            key=AdapterKey(job.passage.id, self._base.fingerprint, self._recipe.id),
            row=self._rows[row].cpu().numpy().astype(np.float32, copy=True),
            layout=self._layout,
            stats={
                "steps": float(len(job.losses)),
                "items": float(len(job.examples)),
                "first_loss": job.losses[0],
                "loss": job.losses[-1],
                "least_probability": float(job.least.min()),
                "batch_seconds": time.perf_counter() - started,
            },
        )
