"""One cell of a study: questions, a collection, an engine and a setting -> pipelines, and what they need.

What the command line and a study share. Imports torch; `paramrag.evaluate` does not import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..conditions import Conditions, conditions, split
from ..config import Recipe
from ..infer import Engine
from ..modes import MODES
from ..parameterize.task import task_adapter
from ..pipeline import Pipeline
from ..retrieve import retriever as retriever_of
from ..store import Collection
from ..types import Hit, Injection, Progress
from .asking import oracle, query_of
from .metrics import Metric
from .noise import AnyPassage, OtherQuestions
from .questions import Question
from .runner import evaluate
from .summary import Summary


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything that decides a cell's answers, apart from model, mode, collection and questions."""

    recipe: Recipe
    """Whose adapters are used."""
    top_k: int = 3
    """Passages per question."""
    retriever: str = "bm25"
    """Where they come from."""
    aggregator: str = "concat"
    """How adapters are combined."""
    weighting: str = "evidence"
    """How much each counts."""
    max_new_tokens: int = 32
    """Cap on an answer, the same in all modes."""
    given: str | None = None
    """Role of the question's own passages that are given instead of retrieving: `gold`, `counterfactual`, ..."""
    text: str | None = None
    """Condition of the text (see `paramrag.conditions`)."""
    adapters: str | None = None
    """Condition of the adapters."""
    shuffled_text: bool = False
    """Whether adapters are those of the passages' words in random order (see `paramrag.evaluate.controls`)."""
    task_lora: bool = False
    """Whether the recipe's task adapter is joined to every answer, in every mode."""
    predicted: Recipe | None = None
    """Whose adapters are used in modes with predicted ones; `recipe` is for the others."""
    seed: int = 0
    """Of everything random."""

    def recipe_of(self, mode: str) -> Recipe:
        """Returns whose adapters a mode uses; the other kind where there is none of its own."""
        wanted = MODES[mode].parameterizer if mode in MODES else self.recipe.parameterizer
        return self.predicted if self.predicted and self.predicted.parameterizer == wanted else self.recipe

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as JSON values; conditions that are none are left out."""
        always = {
            "recipe": self.recipe.id,
            "recipe_name": self.recipe.name,
            "top_k": self.top_k,
            "retriever": self.retriever,
            "aggregator": self.aggregator,
            "weighting": self.weighting,
            "max_new_tokens": self.max_new_tokens,
        }
        some = {
            "given": self.given,
            "text": "+".join(split(self.text)),
            "adapters": "+".join(split(self.adapters)),
            "shuffled_text": self.shuffled_text,
            "task_lora": self.task_lora,
            "predicted": self.predicted.id if self.predicted else None,
            "predicted_name": self.predicted.name if self.predicted else None,
        }
        return always | {name: value for name, value in some.items() if value}


class Cell:
    """A setting on a collection and questions, ready to run."""

    def __init__(
        self,
        collection: Collection,
        engine: Engine,
        questions: Sequence[Question],
        setting: Setting,
        *,
        control: Collection | None = None,
        base_injection: Injection | None = None,
    ) -> None:
        """Settles what is run.

        Args:
            collection: holds the passages and their adapters.
            engine: holds the base model.
            questions: to ask.
            setting: how.
            control: collection whose adapters stand in for the passages' own.
            base_injection: joined to the adapters of every question; None: what the setting says.

        Raises:
            ConfigError: an unknown condition.
            EvaluationError: the passages to give are not in the collection.
        """
        self.collection, self.engine, self.setting = collection, engine, setting
        self.questions = list(questions)
        self._retrieve = retriever_of(setting.retriever, collection)
        self._given_injection = base_injection
        self.given: Mapping[str, Sequence[Hit]] | None = (
            oracle(self.questions, collection, setting.given) if setting.given else None
        )
        self._conditions: Conditions = conditions(
            setting.text,
            setting.adapters,
            noise=OtherQuestions(self.questions, self._hits_of, seed=setting.seed),
            others=AnyPassage(collection, seed=setting.seed, among=self._passages_of_the_run),
            source=control,
            seed=setting.seed,
        )

    @cached_property
    def _base_injection(self) -> Injection | None:
        """Made when it is first asked with, since a task adapter may have to be trained."""
        if self._given_injection is None and self.setting.task_lora:
            return task_adapter(self.engine, self.setting.recipe)
        return self._given_injection

    def pipeline(self, mode: str) -> Pipeline:
        """Returns the pipeline of a mode."""
        return self._pipeline(mode, self._base_injection)

    def _pipeline(self, mode: str, base_injection: Injection | None) -> Pipeline:
        setting = self.setting
        return Pipeline(
            self.collection,
            self.engine,
            mode,
            top_k=setting.top_k,
            recipe=setting.recipe_of(mode),
            retriever=self._retrieve,
            aggregator=setting.aggregator,
            weighting=setting.weighting,
            max_new_tokens=setting.max_new_tokens,
            seed=setting.seed,
            base_injection=base_injection,
            conditions=self._conditions,
        )

    def adapters_needed(self, modes: Iterable[str], progress: Progress | None = None) -> list[str]:
        """Returns the passages whose adapters the questions need in these modes, each once."""
        wanted: dict[str, None] = {}
        # Modes differ in whether they inject, not in what: one that injects tells for all.
        known = (self._pipeline(mode, self._given_injection) for mode in modes)
        injecting = [pipeline for pipeline in known if pipeline.adapter_k][:1]
        for done, question in enumerate(self.questions if injecting else (), 1):
            given = None if self.given is None else self.given[question.id]
            wanted.update((hit.passage.id, None) for hit in injecting[0].counted(query_of(question, given)))
            if progress:
                progress("retrieve", done, len(self.questions))
        return list(wanted)

    def run(
        self,
        modes: Iterable[str],
        out: str | Path | None = None,
        *,
        metrics: Iterable[str | Metric] | None = None,
        about: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Summary:
        """Evaluates the modes (see `evaluate`); `about` goes into the configuration beside the setting."""
        base = {"model": self.engine.fingerprint, "model_name": self.engine.base.name}
        return evaluate(
            {mode: self.pipeline(mode) for mode in modes},
            self.questions,
            out,
            given=self.given,
            metrics=metrics,
            configuration={**base, **self.setting.to_json(), **(about or {})},
            seed=self.setting.seed,
            progress=progress,
        )

    def _passages_of_the_run(self) -> set[str]:
        """What the questions find undisturbed: swapping among these asks for no further adapters."""
        top = self.setting.top_k
        found = {hit.passage.id for question in self.questions for hit in self._hits_of(question)[:top]}
        return found if len(found) > 2 * top else set(self.collection.passage_ids())

    def _hits_of(self, question: Question) -> Sequence[Hit]:
        if self.given is not None:
            return self.given[question.id]
        return self._retrieve(query_of(question).text, self.setting.top_k)
