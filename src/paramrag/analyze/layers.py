"""Where an effect sits, by intervention: the injection is let into some layers or modules only, while answering.

Knowledge that is seen in deep layers need not come from there. Injecting only there, and only elsewhere, tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..aggregate import restrict
from ..config import MODULE_NAMES, parse_recipe
from ..errors import EvaluationError
from ..evaluate.metrics import metric
from ..evaluate.questions import Question
from ..evaluate.statistics import Estimate, bootstrap_mean, paired_difference, wilson
from ..infer import Request
from ..models import answer_ids
from ..pipeline import Pipeline
from ..types import Progress
from .curves import Curve
from .forcing import Forced
from .pks import pks


@dataclass(frozen=True, slots=True)
class Part:
    """What is let in."""

    name: str
    """As shown."""
    pipeline: Pipeline
    """Whose injection; another one for adapters that were trained in these layers only."""
    layers: tuple[int, ...] | None = None
    """Only these; None: all the injection has."""
    modules: tuple[str, ...] | None = None
    """Only these; None: all the injection has."""
    off: bool = False
    """Nothing at all, for comparison."""

    def request(self, question: str) -> Request:
        """Returns what the engine gets with only this part injected."""
        request, _ = self.pipeline.request(question)
        if self.off:
            return replace(request, injection=None)
        if request.injection is None or (self.layers is None and self.modules is None):
            return request
        return replace(request, injection=restrict(request.injection, layers=self.layers, modules=self.modules))


@dataclass(frozen=True, slots=True)
class PartEffect:
    """What a part does."""

    has_answer: Estimate
    """Share of answers that hold a gold answer."""
    log_prob: Estimate
    """Mean log-probability of a token of the gold answer, nats."""
    gain: Estimate
    """`log_prob` less that without any injection, paired."""
    pks: Curve
    """Parametric knowledge score by layer on the gold answer, nats."""
    log_probs: np.ndarray
    """What `log_prob` is the mean of, question by question, float64 [n]."""


@dataclass(frozen=True, slots=True)
class LayerStudy:
    """Parts of the injection, the whole and none, on the same questions."""

    parts: Mapping[str, PartEffect]
    """Name -> effect, in the order given."""
    n: int
    """Questions."""
    left_out: int
    """Questions without a gold answer."""

    def difference(self, one: str, other: str) -> Estimate:
        """Returns by how much one part raises the gold answer's log-probability above another, nats a token, paired."""
        return paired_difference(self.parts[other].log_probs.tolist(), self.parts[one].log_probs.tolist())

    def to_json(self) -> dict[str, Any]:
        """Returns the effects with intervals."""
        return {
            "n": self.n,
            "left_out": self.left_out,
            "unit": "nats",
            "parts": {
                name: {
                    "has_answer": asdict(effect.has_answer),
                    "log_prob": asdict(effect.log_prob),
                    "gain": asdict(effect.gain),
                    "pks": effect.pks.to_json(),
                }
                for name, effect in self.parts.items()
            },
        }


def bands(layer_count: int, specs: Sequence[str] = ()) -> dict[str, tuple[int, ...]]:
    """Returns named bands of layers: those of `specs`, written as in a recipe, else the four quarters of the depth.

    Raises:
        ConfigError: a spec that is none, or names layers the model lacks.
    """
    if specs:
        return {
            f"layers {spec}": parse_recipe({"layers": spec}, source=f"band {spec!r}").layer_indices(layer_count)
            for spec in specs
        }
    cuts = [layer_count * quarter // 4 for quarter in range(5)]
    return {_name(start, stop - 1): tuple(range(start, stop)) for start, stop in pairwise(cuts) if stop > start}


def parts_of(pipeline: Pipeline, specs: Sequence[str] = (), *, modules: bool = True) -> list[Part]:
    """Returns nothing, everything, every band (see `bands`) and every module of a pipeline's injection.

    Bands and modules without an adapter in them are left out.
    """
    base, recipe = pipeline.engine.base, pipeline.recipe
    adapted = set(recipe.layer_indices(base.layer_count))
    found = [Part("nothing", pipeline, off=True), Part("everything", pipeline)]
    for name, layers in bands(base.layer_count, specs).items():
        if adapted.intersection(layers):
            found.append(Part(name, pipeline, layers=layers))
    if modules:
        found += [Part(name, pipeline, modules=(name,)) for name in MODULE_NAMES if name in recipe.modules]
    return found


def layer_effects(
    parts: Sequence[Part], questions: Sequence[Question], *, progress: Progress | None = None
) -> LayerStudy:
    """Answers every question with every part, and scores the gold answer under it.

    Args:
        parts: the first is what `gain` is measured against.
        questions: those without a gold answer are left out.
        progress: called as ("analyze", runs done, runs).

    Raises:
        EvaluationError: no question has a gold answer, or two parts share a name.
        NotFoundError: an adapter is missing.
    """
    asked = [question for question in questions if question.answers and question.answers[0].strip()]
    names = [part.name for part in parts]
    if not asked or not parts or len(set(names)) < len(names):
        raise EvaluationError(
            f"{len(asked)} of {len(questions)} questions have a gold answer, for the parts {', '.join(names)}; "
            "expected at least one question, and parts of different names"
        )
    engine, has_answer = parts[0].pipeline.engine, metric("has_answer")
    gold = [answer_ids(engine.base.tokenizer, question.answers[0]) for question in asked]
    effects: dict[str, PartEffect] = {}
    reference: list[float] = []
    for number, part in enumerate(parts):
        requests = [part.request(question.question) for question in asked]
        said = [completion.text.strip() for completion in engine.generate(requests)]
        log_probs, knowledge = [], []
        for at, (request, answer) in enumerate(zip(requests, gold, strict=True)):
            forced = Forced(engine.base, request.prompt_ids, [request.injection])
            log_probs.append(float(forced.log_probs(answer).mean()))
            knowledge.append(pks(engine.base, request.prompt_ids, answer, request.injection).jsd.mean(-1))
            if progress:
                progress("analyze", number * len(asked) + at + 1, len(parts) * len(asked))
        reference = reference or log_probs
        scores = [has_answer.score(text, question) for text, question in zip(said, asked, strict=True)]
        effects[part.name] = PartEffect(
            has_answer=wilson(scores),
            log_prob=bootstrap_mean(log_probs),
            gain=paired_difference(reference, log_probs),
            pks=Curve(np.array(knowledge)),
            log_probs=np.array(log_probs),
        )
    return LayerStudy(effects, len(asked), len(questions) - len(asked))


def _name(first: int, last: int) -> str:
    return f"layer {first}" if first == last else f"layers {first}-{last}"
