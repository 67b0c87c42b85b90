"""The demo as a program: the shipped corpus becomes a collection, is encoded, and is asked in seven modes.

Each step is one that a user's own script would take. Running it again goes on where it was: documents, adapters and
answers that are there are not made again. Prints nothing; the command line shows what it returns.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import load_recipe
from ..errors import ConfigError
from ..evaluate import JudgedPassage, Question, Sample, Summary, evaluate
from ..infer import Engine
from ..models import load_base
from ..modes import modes_with
from ..parameterize import GIVEN_ITEMS, EncodeReport, StaticParameterizer, task_adapter
from ..pipeline import Pipeline
from ..store import Collection
from ..types import Progress, content_hash
from .loader import DemoQuestion, demo_items, demo_passages, demo_questions

QUESTIONS = 20
"""Questions asked by default: four answers to one take two cores three seconds, and encoding takes most of the five
minutes that the demo may take."""
TOP_K = 3
_MODES = modes_with("static")
BATCH = 16
EXAMPLE_KINDS = ("single", "paraphrase", "conflict")
"""Of each of these kinds, the first question asked is shown as an example, whatever came out."""


@dataclass(frozen=True, slots=True)
class ModeResult:
    """How one mode did."""

    n: int
    """Questions asked."""
    has_answer: float
    """Share of them that got a right answer."""
    ci95: tuple[float, float]
    """Wilson interval of that share."""
    seconds: float
    """Time to answer them all, when they were answered."""
    prompt_tokens: float
    """Mean length of a prompt."""


@dataclass(frozen=True, slots=True)
class Example:
    """One question with what every mode said."""

    question: str
    """As asked."""
    gold: str
    """A right answer."""
    kind: str
    """What the question tries."""
    answers: Mapping[str, tuple[str, bool]]
    """Mode -> (answer, whether it is right)."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo did and found."""

    directory: Path
    """The collection, left to be asked."""
    model: str
    """Base model."""
    recipe: str
    """Name of the recipe."""
    recipe_id: str
    """Its id."""
    passages: int
    """Passages in the collection."""
    encode: EncodeReport
    """What encoding did this time."""
    modes: Mapping[str, ModeResult]
    """By mode."""
    retrieval: Mapping[str, float]
    """`hit@1`, `hit@3`, `n`, as in an evaluation's summary."""
    examples: tuple[Example, ...]
    """A few questions with all answers."""
    timings_s: Mapping[str, float]
    """Seconds of this run: `model`, `add`, `encode`, `answer`, `total`."""

    def to_json(self) -> dict[str, Any]:
        """Returns the stable `demo --json` object."""
        return {
            "modes": {
                name: {
                    "n": found.n,
                    "has_answer": round(found.has_answer, 6),
                    "ci95": [round(end, 6) for end in found.ci95],
                    "seconds": round(found.seconds, 2),
                    "prompt_tokens": round(found.prompt_tokens, 1),
                }
                for name, found in self.modes.items()
            },
            "timings_s": {stage: round(seconds, 2) for stage, seconds in self.timings_s.items()},
            "model": self.model,
            "recipe": self.recipe,
            "recipe_id": self.recipe_id,
            "passages": self.passages,
            "adapters": {
                "made": self.encode.encoded,
                "present": self.encode.present,
                "failed": len(self.encode.failed),
            },
            "retrieval": dict(self.retrieval),
        }


def run_demo(
    directory: str | Path,
    *,
    model: str = "smollm2-135m-instruct",
    recipe: str = "default",
    limit: int = QUESTIONS,
    self_augment: bool = False,
    progress: Progress | None = None,
) -> DemoReport:
    """Builds the demo's collection, encodes it, and asks a sample of its questions in every mode.

    Args:
        directory: where the collection goes.
        model: base model.
        recipe: how adapters are made.
        limit: questions to ask, drawn evenly from all kinds; the same for the same number.
        self_augment: let the local model make the training items instead of taking the shipped ones.
        progress: called as (stage, done, total).

    Raises:
        ConfigError: the directory holds a collection of other documents.
    """
    clock = _Clock()
    engine = Engine(load_base(model, progress=progress))
    clock.lap("model")
    collection = Collection.open(directory)
    _refuse_others(collection)
    collection.add(demo_passages(), progress=progress)
    clock.lap("add")
    chosen = load_recipe(recipe)
    if self_augment:
        settings = chosen.augmentation.model_copy(update={"augmenter": "model"})
        chosen = chosen.model_copy(update={"name": f"{chosen.name}-model", "augmentation": settings})
    else:
        collection.put_items(GIVEN_ITEMS, demo_items())
    passage_ids = [passage.id for passage in demo_passages()]  # the user may have added documents of her own
    encoded = StaticParameterizer(engine, chosen).encode(collection, passage_ids, progress=progress)
    task_adapter(engine, chosen, progress)  # shipped for the default; for others the user sees the bar
    clock.lap("encode")
    questions = [as_question(question) for question in sample_questions(demo_questions(), limit)]
    pipelines = {mode: Pipeline(collection, engine, mode, top_k=TOP_K, recipe=chosen) for mode in _MODES}
    settings_of_run = {
        "data": "demo",
        "model": engine.fingerprint,
        "model_name": engine.base.name,
        "recipe": chosen.id,
        "recipe_name": chosen.name,
        "top_k": TOP_K,
        "revision": collection.revision,
    }
    summary = evaluate(
        pipelines,
        questions,
        _run_directory(collection.path, settings_of_run, questions),
        metrics=["has_answer"],
        batch=BATCH,
        configuration=settings_of_run,
        progress=progress,
    )
    clock.lap("answer")
    return DemoReport(
        directory=Path(directory),
        model=model,
        recipe=chosen.name,
        recipe_id=chosen.id,
        passages=len(passage_ids),
        encode=encoded,
        modes={mode: _result(summary, mode) for mode in _MODES},
        retrieval=summary.retrieval,
        examples=tuple(_examples(summary, questions)),
        timings_s=clock.laps(),
    )


def _refuse_others(collection: Collection) -> None:
    """Keeps invented facts out of a collection of real documents; a demo's own may have got documents added."""
    held = set(collection.passage_ids())
    if held and held.isdisjoint(passage.id for passage in demo_passages()):
        raise ConfigError(
            f"{collection.path} is a collection of other documents, into which the invented ones of the demo would go; "
            "expected a new directory, or that of a demo"
        )


def sample_questions(questions: Sequence[DemoQuestion], limit: int, seed: int = 0) -> list[DemoQuestion]:
    """Draws `limit` questions, of each kind in proportion to its share, and mixes the kinds."""
    draw = random.Random(seed)
    kinds: dict[str, list[DemoQuestion]] = {}
    for question in questions:
        kinds.setdefault(question.kind, []).append(question)
    # Systematic sampling: each question stands at its quantile within its kind, and the lowest are taken.
    placed = []
    for own in kinds.values():
        mixed = draw.sample(own, len(own))
        placed += [((rank + draw.random()) / len(own), question) for rank, question in enumerate(mixed)]
    return [question for _, question in sorted(placed, key=lambda entry: entry[0])[:limit]]


def as_question(question: DemoQuestion) -> Question:
    """Returns a demo question as a question of an evaluation, its gold passages judged."""
    by_title = {passage.title: passage for passage in demo_passages()}
    gold = tuple(JudgedPassage(by_title[title], gold=True) for title in question.titles)
    return Question(question.id, question.question, question.answers, gold, metadata={"kind": question.kind})


def _run_directory(collection: Path, settings: Mapping[str, Any], questions: Iterable[Question]) -> Path:
    """Returns where the answers of these settings are kept: inside the collection, so that they go with it."""
    return (
        collection
        / "runs"
        / f"demo-{content_hash(repr(sorted(settings.items())), *(q.id for q in questions), length=8)}"
    )


def _result(summary: Summary, mode: str) -> ModeResult:
    samples, found = summary.samples[mode], summary.modes[mode]
    estimate = found.metrics["has_answer"]
    assert estimate is not None  # every demo question has a gold answer
    # Questions that were answered together carry the time of their batch; it counts once.
    batches = [key for key, _ in itertools.groupby(sample.timings_ms.get("total", 0.0) for sample in samples)]
    return ModeResult(
        n=found.n,
        has_answer=estimate.mean,
        ci95=(estimate.low, estimate.high),
        seconds=sum(batches) / 1000,
        prompt_tokens=sum(sample.tokens.get("prompt", 0) for sample in samples) / len(samples),
    )


def _examples(summary: Summary, questions: Sequence[Question]) -> Iterable[Example]:
    by_mode: dict[str, dict[str, Sample]] = {
        mode: {sample.id: sample for sample in samples} for mode, samples in summary.samples.items()
    }
    for kind in EXAMPLE_KINDS:
        question = next((entry for entry in questions if entry.metadata["kind"] == kind), None)
        if question is not None:
            said = {mode: samples[question.id] for mode, samples in by_mode.items() if mode in _MODES}
            answers = {mode: (sample.prediction, sample.metrics["has_answer"] == 1.0) for mode, sample in said.items()}
            yield Example(question.question, question.answers[0], kind, answers)


class _Clock:
    """Names the time between one call and the next."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._laps[stage] = now - self._last
        self._last = now

    def laps(self) -> dict[str, float]:
        return {**self._laps, "total": time.perf_counter() - self._started}
