"""Trains a hypernetwork: passages in, answers to their questions out, adapters in between.

A step predicts the rows of a few passages, tries their items under them, and sends the gradient back. In the first
phase each update is carried straight to the output (`direct`), in the second it goes through the adapted layers
(`exact`); held-out passages are always measured exactly. Beside the answer loss, a hinge asks that the own adapter beat
another passage's by a margin: a hypernetwork that gives every passage the same adapter cannot satisfy it.

Everything is decided by seed, epoch and step, and written down at every check: a killed training goes on as if it had
not been. The checkpoint under which most held-out answers are said is the one that is kept.

Shapes: N passages of a batch, P numbers per row.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ...config import Recipe
from ...errors import ConfigError, TrainingError
from ...infer import Engine
from ...infer.injection import stack
from ...store.layout import AdapterLayout
from ...types import Progress, content_hash
from ..task import task_adapter
from .checkpoint import Predictor, all_finite, fresh_network, save_hypernet
from .corpus import Corpus, Pairs, corpus
from .direct import DirectBatch
from .exact import ExactBatch
from .examples import Example
from .heldout import HeldOut, Measured
from .imitation import Imitation
from .tokens import TokenHypernet

if TYPE_CHECKING:
    from ...analyze.collapse import CollapseReport

WARM_UP_STEPS = 50
DECAY = 0.4
"""Share of a phase in which the learning rate falls to nothing."""
EXACT_RATE = 0.3
"""Learning rate of the exact phase, of the peak: it corrects what the direct one has learnt."""
SIZES_RATE = 12.0
"""That of the few numbers that say how much of a part is used, of the others'."""
PREPARED_WITH = 800
"""Passages, at most, from which the network learns before training what inner activations look like."""
ALIKE_STEPS = 16
"""Steps whose passages are sorted by length before they are shared out."""
CHECK_STEPS = {"direct": 100, "exact": 10}
"""Steps between two checks on held-out passages."""


@dataclass(slots=True)
class _State:
    """How far a training has come."""

    phase: str = "direct"
    step: int = 0  # of the phase
    best: list[float] = field(default_factory=lambda: [-1.0, 0.0])  # of the phase, on held-out passages: said, -loss
    stale: int = 0  # checks since
    seconds: float = 0.0
    curves: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TrainReport:
    """What a training came to."""

    folder: Path
    """Where the checkpoint is."""
    passages: int
    """Trained on."""
    held_out: int
    """Held out."""
    parameters: int
    """Numbers that were learnt."""
    seconds: float
    """Of training, over all runs."""
    curves: tuple[dict[str, Any], ...]
    """One entry per check; also in `curves.jsonl`."""
    measured: Measured
    """The kept checkpoint on held-out passages."""

    def collapse(self, layout: AdapterLayout) -> CollapseReport:
        """Returns the measures of collapse, with their alarms; an item counts as answered if it is said."""
        from ...analyze.collapse import CollapseReport, SwapTest, collapse
        from ...evaluate.statistics import paired_difference, wilson

        own, swapped = (found.astype(float).tolist() for found in (self.measured.said, self.measured.swapped_said))
        swap = SwapTest(wilson(own), wilson(swapped), paired_difference(swapped, own), left_out=0)
        if self.measured.distance_from_mean or self.measured.mean_cosine < 1:
            return collapse(layout, self.measured.rows, swap=swap)
        count = len(self.measured.rows)
        zeros = np.zeros(count)
        return CollapseReport(count, 1.0, 1.0, zeros, None, None, zeros, np.ones(count * (count - 1) // 2), swap)

    def to_json(self) -> dict[str, Any]:
        """Returns all but the curves and rows."""
        return {
            "hypernet": str(self.folder),
            "passages": self.passages,
            "held_out": self.held_out,
            "parameters": self.parameters,
            "seconds": round(self.seconds, 1),
            **self.measured.to_json(),
        }


class HyperTraining:
    """One training, in one folder."""

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        out: str | Path,
        given: Pairs = (),
        *,
        start: Predictor | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Makes what is learnt from, or finds it.

        Args:
            engine: holds the base model.
            recipe: with a hypernet section.
            out: folder of the checkpoint; a training that was interrupted there goes on.
            given: passages with training items to learn from, beside invented ones.
            start: a hypernetwork of the same shape to go on from, instead of random weights.
            workers: processes that read passages; None takes one a core on CPU, as memory allows.

        Raises:
            ConfigError: the recipe has no hypernet section, there is nothing to learn from, or the folder holds another
                training.
        """
        self._network = fresh_network(engine, recipe)
        assert recipe.hypernet
        self._engine, self._recipe, self._settings = engine, recipe, recipe.hypernet
        self._folder, self._progress = Path(out), progress
        self._layout = engine.layout(recipe)
        self._fresh = start is None
        if start:
            try:
                self._network.load_state_dict(start.network.state_dict())
            except RuntimeError as error:
                raise ConfigError(
                    f"the hypernetwork to start from has another shape: {error}; take its recipe, or start anew"
                ) from error
        self._claim(given, start.recipe.checkpoint if start else "")
        self._corpus: Corpus = corpus(
            engine, recipe, given, self._folder / "examples", workers=workers, progress=progress
        )
        if len(self._corpus.train) < 2 or len(self._corpus.held) < 2:
            raise ConfigError(
                f"{len(self._corpus.train)} passages with items to learn from and {len(self._corpus.held)} held out; "
                "expected at least 2 of each: raise passages in the recipe, or give collections with training items"
            )
        self._beneath = stack([task_adapter(engine, recipe)], engine.base) if recipe.task else None
        self._optimizer = torch.optim.AdamW(self._groups(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)
        self._state = _State()
        self._imitation = Imitation.of(engine, recipe, self._corpus.train, self._folder, progress)

    def run(self) -> TrainReport:
        """Trains to the end, or until held-out passages gain no more.

        Raises:
            TrainingError: the loss is not finite.
        """
        self._prepare()
        held = HeldOut(self._engine.base, self._recipe, self._layout, self._corpus.held, self._beneath)
        phases = {"direct": self._settings.direct_epochs, "exact": self._settings.exact_epochs}
        resumed = self._resume()
        for phase, epochs in phases.items():
            if list(phases).index(phase) < list(phases).index(self._state.phase) or not epochs:
                continue
            if self._state.phase != phase and not self._state.curves:
                self._state.phase = phase  # the first with something to do
            if self._state.phase != phase:
                self._load_best()
                self._state = _State(phase, seconds=self._state.seconds, curves=self._state.curves)
                self._optimizer = torch.optim.AdamW(self._groups(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)
            if not resumed:
                self._check(held, 0.0)
            resumed = False
            self._phase(held, math.ceil(epochs * self._epoch_steps))
        self._load_best()
        return TrainReport(
            self._folder,
            len(self._corpus.train),
            len(self._corpus.held),
            sum(parameter.numel() for parameter in self._network.parameters()),
            self._state.seconds,
            tuple(self._state.curves),
            held.measure(self._network),
        )

    @property
    def _epoch_steps(self) -> int:
        return max(1, len(self._corpus.train) // self._settings.batch_passages)

    def _phase(self, held: HeldOut, total: int) -> None:
        state, every = self._state, CHECK_STEPS[self._state.phase]
        started, losses = time.perf_counter(), []
        while state.step < total and state.stale < self._settings.patience:
            losses.append(self._step(self._members(state.step), total))
            state.step += 1
            if self._progress:
                self._progress(state.phase, state.step, total)
            if state.step % every == 0 or state.step == total:
                state.seconds += time.perf_counter() - started
                self._check(held, float(np.mean(losses)))
                started, losses = time.perf_counter(), []

    def _members(self, step: int) -> list[Example]:
        """Returns the passages of a step: every epoch goes through all of them, in an order of its own.

        Of some steps' passages, those of like length go together: padding costs as much as tokens.
        """
        epoch, at = divmod(step, self._epoch_steps)
        salt = {"direct": 0, "exact": 1}[self._state.phase]
        random = np.random.default_rng([self._recipe.seed, salt, epoch])
        order = random.permutation(len(self._corpus.train))
        size = min(self._settings.batch_passages, len(order))
        first = at // ALIKE_STEPS * ALIKE_STEPS
        steps = min(ALIKE_STEPS, self._epoch_steps - first)
        among = sorted(
            order[first * size : (first + steps) * size], key=lambda one: len(self._corpus.train[one].reading.ids)
        )
        turn = np.random.default_rng([self._recipe.seed, salt, epoch, first]).permutation(steps)[at - first]
        return [self._corpus.train[number] for number in among[turn * size : (turn + 1) * size]]

    def _step(self, members: Sequence[Example], total: int) -> float:
        settings, state = self._settings, self._state
        self._set_rate(total)
        random = np.random.default_rng([self._recipe.seed, state.step, 2])
        shift = int(random.integers(1, len(members))) if len(members) > 1 else 0
        beside = shift if shift and random.random() < settings.distractors else 0
        told = (self._direct if state.phase == "direct" else self._exact)(members, shift, beside)
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if not np.isfinite(told) or not all_finite(self._network):
            raise TrainingError(
                f"the loss of the hypernetwork is not finite at step {state.step} of the {state.phase} phase; lower "
                f"learning_rate in the recipe (now {settings.learning_rate:g}), or set clip"
            )
        return told

    def _direct(self, members: Sequence[Example], shift: int, beside: int) -> float:
        """Sends the gradient of a batch back; returns its loss."""
        batch = DirectBatch(self._engine.base, self._layout, members)
        wanted, told = self._wanted(batch, self._network.factors(batch.readings), shift, beside)
        torch.autograd.backward(wanted / batch.items)
        return told / batch.items

    def _exact(self, members: Sequence[Example], shift: int, beside: int) -> float:
        """The same through the model, in pieces: the network is gone back through once."""
        batch = ExactBatch(self._engine.base, self._recipe, self._layout, members, self._beneath)
        predicted = self._network(batch.readings)
        rows = predicted.detach().requires_grad_(True)
        total = 0.0
        for piece in batch.pieces():
            wanted, told = self._wanted(piece, rows, shift, beside)
            torch.autograd.backward(wanted / batch.items)
            total += told
        if self._imitation:
            torch.autograd.backward(self._imitation.loss(members, rows))
        assert rows.grad is not None
        torch.autograd.backward(predicted, rows.grad)
        return total / batch.items

    def _wanted(self, tried: Any, given: Any, shift: int, beside: int) -> tuple[torch.Tensor, float]:
        """Returns what is minimised, summed over items, and the answer loss in it."""
        own, _ = tried.losses(given, beside=beside)
        wanted = own.sum()
        if self._settings.contrast_weight and shift:
            other, _ = tried.losses(given, shift)
            wanted = wanted + self._settings.contrast_weight * (self._settings.margin - (other - own)).relu().sum()
        return wanted, float(own.detach().sum())

    def _set_rate(self, total: int) -> None:
        step, peak = self._state.step, self._settings.learning_rate
        if self._state.phase == "exact" and self._settings.direct_epochs:
            peak *= EXACT_RATE
        rising = min(1.0, (step + 1) / WARM_UP_STEPS)
        falling = min(1.0, (total - step) / (DECAY * total))
        for group in self._optimizer.param_groups:
            group["lr"] = peak * rising * falling * group["factor"]

    def _groups(self) -> list[dict[str, Any]]:
        sizes = [own for name, own in self._network.named_parameters() if name.endswith((".mixed", ".copied"))]
        others = [own for name, own in self._network.named_parameters() if not name.endswith((".mixed", ".copied"))]
        return [{"params": others, "factor": 1.0}, {"params": sizes, "factor": SIZES_RATE}]

    def _prepare(self) -> None:
        """Tells the network how large inner activations are: their spread over the first passages' answers."""
        network = self._network
        if self._fresh and isinstance(network, TokenHypernet):
            network.prepare(self._corpus.train[:PREPARED_WITH])

    # On disk

    def _claim(self, given: Pairs, start: str) -> None:
        """Takes the folder for this training."""
        passages = sorted(passage.id for passage, _ in given)
        mine = {
            "base": self._engine.fingerprint,
            "recipe": self._recipe.id,
            "passages": content_hash(*passages),
            "start": start,
        }
        path = self._folder / "training.json"
        if path.is_file():
            if (found := json.loads(path.read_text("utf-8"))) != mine:
                differs = ", ".join(name for name in mine if found.get(name) != mine[name])
                raise ConfigError(
                    f"{self._folder} holds another training (its {differs} differ); give another --out, or remove it"
                )
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(mine), encoding="utf-8")

    def _check(self, held: HeldOut, loss: float) -> None:
        """Measures, keeps the network if it is the best so far, and writes down where the training stands."""
        state = self._state
        measured = held.measure(self._network)
        entry = {"phase": state.phase, "step": state.step, "seconds": round(state.seconds, 1), "loss": loss}
        state.curves.append(entry | measured.to_json())
        # What is said decides: the loss grows where a few answers are surely wrong, while more and more are right.
        reached = [float(measured.said.mean()), -measured.loss]
        if reached > state.best:
            state.best, state.stale = reached, 0
            save_hypernet(self._folder, self._engine, self._recipe, self._network)
        else:
            state.stale += 1
        lines = "".join(json.dumps(one) + "\n" for one in state.curves)
        (self._folder / "curves.jsonl").write_text(lines, encoding="utf-8")
        tensors = {f"network.{name}": value for name, value in self._network.state_dict().items()}
        for number, own in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in own.items()}
        scratch = self._folder / "state.safetensors.part"
        contiguous = {name: value.contiguous() for name, value in tensors.items()}
        save_file(contiguous, scratch, {"state": json.dumps(asdict(state))})
        scratch.replace(self._folder / "state.safetensors")

    def _resume(self) -> bool:
        """Goes back to the last check, if there was one."""
        path = self._folder / "state.safetensors"
        if not path.is_file():
            return False
        with safe_open(path, "pt") as file:
            self._state = _State(**json.loads(file.metadata()["state"]))
        tensors = load_file(path)
        network = {name.removeprefix("network."): value for name, value in tensors.items() if name[0] == "n"}
        self._network.load_state_dict(network)
        optimizer = self._optimizer.state_dict()
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name[0] == "o":
                _, number, part = name.split(".")
                moments.setdefault(int(number), {})[part] = value
        self._optimizer.load_state_dict({**optimizer, "state": moments})
        return True

    def _load_best(self) -> None:
        self._network.load_state_dict(load_file(self._folder / "hypernet.safetensors"))


def read_curves(folder: str | Path) -> Iterator[dict[str, Any]]:
    """Yields what was measured at every check."""
    for line in (Path(folder) / "curves.jsonl").read_text("utf-8").splitlines():
        yield json.loads(line)
