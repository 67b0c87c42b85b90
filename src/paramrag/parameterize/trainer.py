"""Trains many adapters at once over one frozen model: the stacked trainer.

N passages form one parameter [N, P]; every sequence of a batch runs through its own passage's row. The loss is the sum
over passages of each passage's mean over its labels, and clipping and AdamW work per row, so the result equals N
separate runs, in whatever company a passage is trained. What does not depend on the adapters is computed once
(`replay`); sequences of similar length run together, so little is padded; items that are learnt rest, and passages
whose items all are, leave.

Shapes: N passages, P numbers per row, S sequences of a micro-batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..config import Recipe
from ..errors import TrainingError
from ..infer.injection import injected, stack
from ..models import BaseModel
from ..store.layout import AdapterLayout
from ..types import Adapter, AdapterKey, Injection, Passage, TrainingItem, content_hash
from .budget import CONTEXT_TOKENS, MEMORY, by_length, by_memory, micro_batch_tokens
from .contexts import Contexts
from .leaves import add_gradient, leaves
from .optimizer import StackedAdamW
from .replay import Losses, Replay
from .sequences import TrainingSequence, sequences
from .teacher import Lesson, lessons

Told = Callable[[float], None]
"""Called as steps are taken with how much more is done, in passages: the numbers of a passage add up to 1."""
REST_STEPS = 3
"""Steps for which a learnt item is left out before it is looked at again."""


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
    steps: int
    order: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    likelihood: list[float] = field(default_factory=list)  # per example: of its least likely label, when last seen
    rested: list[int] = field(default_factory=list)  # per example: steps since it was seen
    checking: bool = False  # whether this step looks at all examples to decide if the passage is done

    def __post_init__(self) -> None:
        self.likelihood = [0.0] * len(self.examples)
        self.rested = [0] * len(self.examples)

    def choose(self, batch_items: int, learnt: float) -> list[int]:
        """Returns the examples of the next step."""
        everything = list(range(len(self.examples)))
        if batch_items:
            if not self.order:  # a pass over all examples in a new order each time
                self.order = self.random.permutation(len(self.examples)).tolist()
            everything, self.order = self.order[:batch_items], self.order[batch_items:]
        if not learnt:
            return everything
        self.checking = all(value >= learnt for value in self.likelihood)
        if self.checking:
            return list(range(len(self.examples)))
        chosen = [
            example for example in everything if self.likelihood[example] < learnt or self.rested[example] >= REST_STEPS
        ]
        for example in set(everything).difference(chosen):
            self.rested[example] += 1
        return chosen or everything

    def saw(self, example: int, likelihood: float) -> None:
        """Takes note of how well an example went."""
        self.likelihood[example], self.rested[example] = likelihood, 0


@dataclass(frozen=True, slots=True)
class _MicroBatch:
    """Sequences of similar length, recorded together."""

    members: tuple[tuple[int, int], ...]  # [S]: (job number, example number)
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


def objective(recipe: Recipe, found: Losses) -> torch.Tensor:
    """Returns what is minimised under a recipe, per label [M]."""
    wanted = recipe.nll_weight * found.nll
    if found.divergence is not None and found.angle is not None:
        wanted = wanted + recipe.kl_weight * found.divergence + recipe.state_weight * found.angle
    return wanted


def _steps(recipe: Recipe, examples: int) -> int:
    return recipe.epochs * math.ceil(examples / (recipe.batch_items or examples))


def train(
    base: BaseModel,
    recipe: Recipe,
    layout: AdapterLayout,
    batch: Sequence[tuple[Passage, Sequence[TrainingItem]]],
    *,
    memory: int = MEMORY,
    beneath: Injection | None = None,
    told: Told | None = None,
) -> Iterator[Adapter | Failed]:
    """Trains one adapter per passage, all at once; yields them in the order given.

    A passage without items, or whose loss stops being finite even at a lower learning rate, comes back as Failed; the
    others are not affected.

    Args:
        memory: bytes to use beside the model; one sequence too long for it runs alone all the same.
        beneath: on, unchanged, under every adapter while it is trained, as it will be when it is used.
        told: hears how training goes on.
    """
    results: dict[str, Adapter | Failed] = {}
    jobs: list[tuple[Passage, list[TrainingSequence]]] = []
    for passage, items in batch:
        try:
            jobs.append((passage, sequences(base, recipe, passage, items)))
        except TrainingError as error:
            results[passage.id] = Failed(passage.id, str(error))
    results |= train_sequences(base, recipe, layout, jobs, memory=memory, beneath=beneath, told=told)
    for passage, _ in batch:
        yield results[passage.id]


def train_sequences(
    base: BaseModel,
    recipe: Recipe,
    layout: AdapterLayout,
    jobs: Sequence[tuple[Passage, list[TrainingSequence]]],
    *,
    memory: int = MEMORY,
    beneath: Injection | None = None,
    told: Told | None = None,
) -> dict[str, Adapter | Failed]:
    """Trains one adapter per passage on sequences of its own, as `train` does; returns them by passage id."""
    results: dict[str, Adapter | Failed] = {}
    tokens = micro_batch_tokens(base, layout, memory)
    for rate in (recipe.learning_rate, recipe.learning_rate / 4):
        left = [(passage, examples) for passage, examples in jobs if passage.id not in results]
        for together in by_memory(base, left, memory // 2):
            results |= _Run(base, recipe, layout, together, rate, tokens, beneath, told).run()
    for passage, _ in jobs:
        if passage.id not in results:
            results[passage.id] = Failed(
                passage.id,
                f"passage {passage.id} ({passage.title!r}): the loss is not finite, at learning rate "
                f"{recipe.learning_rate:g} and at a quarter of it; lower learning_rate in the recipe",
            )
    return results


class _Run:
    """One stacked training of jobs at one learning rate."""

    def __init__(
        self,
        base: BaseModel,
        recipe: Recipe,
        layout: AdapterLayout,
        jobs: Sequence[tuple[Passage, list[TrainingSequence]]],
        learning_rate: float,
        tokens: int,
        beneath: Injection | None,
        told: Told | None,
    ) -> None:
        self._base, self._recipe, self._layout, self._rate = base, recipe, layout, learning_rate
        self._tokens, self._told = tokens, told
        self._beneath = stack([beneath], base)
        self._jobs = [
            _Job(
                passage,
                examples,
                np.random.default_rng([recipe.seed, int(content_hash(passage.id, length=15), 16)]),
                steps=_steps(recipe, len(examples)),
            )
            for passage, examples in jobs
        ]
        rows = [initial_row(layout, recipe.seed)] * len(self._jobs)
        self._rows = torch.from_numpy(np.stack(rows)).to(base.device)
        self._optimizer = StackedAdamW(self._rows, weight_decay=recipe.weight_decay, clip=recipe.clip)
        self._active = list(range(len(self._jobs)))  # job numbers, one per row of the parameter
        self._micro_batches = self._record()
        self._started = time.perf_counter()

    def run(self) -> dict[str, Adapter]:
        """Returns the adapters that were trained; a job whose loss was not finite is missing."""
        done: dict[str, Adapter] = {}
        step = 0
        while self._active:
            gradient = self._gradient()
            learnt = [row for row, number in enumerate(self._active) if self._is_learnt(number)]
            for row in learnt:
                done[self._jobs[self._active[row]].passage.id] = self._adapter(row)
            diverged = [
                row for row, number in enumerate(self._active) if not math.isfinite(self._jobs[number].losses[-1])
            ]
            gradient = gradient[self._leave([*learnt, *diverged])]
            if not self._active:
                break
            self._optimizer.step(self._rows, gradient, self._rates(step))
            step += 1
            if self._told:
                self._told(sum(1 / self._jobs[number].steps for number in self._active))
            over = [row for row, number in enumerate(self._active) if step >= self._jobs[number].steps]
            for row in over:
                done[self._jobs[self._active[row]].passage.id] = self._adapter(row)
            self._leave(over)
        return done

    def _is_learnt(self, number: int) -> bool:
        job, limit = self._jobs[number], self._recipe.stop_probability
        return job.checking and all(value >= limit for value in job.likelihood)

    def _rates(self, step: int) -> torch.Tensor:
        """Returns the learning rate of each row [N]: every passage has a schedule of its own."""
        linear = self._recipe.schedule == "linear"
        left = [1.0 - step / self._jobs[number].steps if linear else 1.0 for number in self._active]
        return self._rate * torch.tensor(left, device=self._base.device)

    def _record(self) -> list[_MicroBatch]:
        """Groups all sequences by tail length, within the token budget, and records them."""
        members = [(number, example) for number, job in enumerate(self._jobs) for example in range(len(job.examples))]
        grouped = by_length([len(self._sequence(member).tail) for member in members], self._tokens)
        groups = [[members[at] for at in group] for group in grouped]
        contexts = Contexts(self._base, (self._sequence(member).context for member in members), CONTEXT_TOKENS)
        taught = self._lessons() if self._recipe.taught else {}
        with injected(self._base, self._beneath):  # tails are read as they will be; contexts by the base model alone
            return [
                _MicroBatch(
                    tuple(group),
                    Replay(
                        self._base,
                        [self._sequence(member) for member in group],
                        self._layout.layers,
                        contexts,
                        [taught[member] for member in group] if taught else [],
                    ),
                )
                for group in groups
            ]

    def _lessons(self) -> dict[tuple[int, int], Lesson]:
        return {
            (number, example): lesson
            for number, job in enumerate(self._jobs)
            for example, lesson in enumerate(
                lessons(self._base, job.examples, self._layout.layers, CONTEXT_TOKENS)  # they share the passage
            )
        }

    def _sequence(self, member: tuple[int, int]) -> TrainingSequence:
        return self._jobs[member[0]].examples[member[1]]

    def _gradient(self) -> torch.Tensor:
        """Runs one step's examples; returns the gradient [N, P] and notes losses in the jobs."""
        recipe, device = self._recipe, self._base.device
        row_of = {number: row for row, number in enumerate(self._active)}
        chosen = {
            (number, example)
            for number in self._active
            for example in self._jobs[number].choose(recipe.batch_items, recipe.stop_probability)
        }
        labels = [0] * len(self._active)  # all of a passage's: an item at rest counts as one without loss
        for number, row in row_of.items():
            counted = range(len(self._jobs[number].examples)) if not recipe.batch_items else ()
            for example in counted or (entry for job, entry in chosen if job == number):
                labels[row] += self._sequence((number, example)).label_count
        weights = 1.0 / torch.tensor(labels, dtype=torch.float32, device=device)
        losses = torch.zeros(len(self._active), device=device)
        gradient = torch.zeros_like(self._rows)
        for batch in self._micro_batches:
            rows = [row for row, member in enumerate(batch.members) if member in chosen]
            if not rows:
                continue
            owners = torch.tensor([row_of[batch.members[row][0]] for row in rows], device=device)
            factors = leaves(self._layout, self._rows, owners, self._base.dtype)
            with injected(self._base, self._beneath), injected(self._base, factors):
                found = batch.replay.losses(torch.tensor(rows, device=device))
            losses_M, row_of_label = found.nll, found.owners
            weighted = objective(recipe, found) * weights[owners[row_of_label]]
            torch.autograd.backward(weighted.sum())
            add_gradient(self._layout, gradient, factors, owners)
            losses.index_add_(0, owners[row_of_label], weighted.detach())
            worst = torch.zeros(len(rows), device=device)
            worst = worst.scatter_reduce(0, row_of_label, losses_M.detach(), "amax")
            for row, loss in zip(rows, worst.tolist(), strict=True):
                number, example = batch.members[row]
                self._jobs[number].saw(example, math.exp(-loss))
        for number, loss in zip(self._active, losses.tolist(), strict=True):
            self._jobs[number].losses.append(loss)
        return gradient

    def _leave(self, rows: Sequence[int]) -> torch.Tensor:
        """Takes rows out of the parameter; returns the numbers of those that stay."""
        gone = set(rows)
        staying = [row for row in range(len(self._active)) if row not in gone]
        stay = torch.tensor(staying, dtype=torch.long, device=self._base.device)
        if gone:
            self._active = [self._active[row] for row in staying]
            self._rows = self._rows[stay]
            self._optimizer.keep(stay)
        return stay

    def _adapter(self, row: int) -> Adapter:
        job = self._jobs[self._active[row]]
        return Adapter(
            key=AdapterKey(job.passage.id, self._base.fingerprint, self._recipe.id),
            row=self._rows[row].cpu().numpy().astype(np.float32, copy=True),
            layout=self._layout,
            stats={
                "steps": float(len(job.losses)),
                "items": float(len(job.examples)),
                "first_loss": job.losses[0],
                "loss": job.losses[-1],
                "least_probability": min(job.likelihood),
                "batch_seconds": time.perf_counter() - self._started,
            },
        )
