"""retrieve -> adapters -> aggregate -> inject -> generate: one question from hits to answer, in every mode.

A mode only says how many of the retrieved passages go into the text and how many into the weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .aggregate import aggregator as aggregator_of
from .aggregate import weighting as weighting_of
from .config import Recipe, load_recipe
from .errors import ConfigError, NotFoundError, did_you_mean
from .infer import Completion, Engine, Request
from .models import prompt_ids
from .retrieve import Retriever
from .retrieve import retriever as retriever_of
from .store import Collection
from .types import AdapterKey, Answer, Hit, Injection, Passage, Trace, Used


@dataclass(frozen=True, slots=True)
class Mode:
    """Where retrieved passages go."""

    name: str
    """What users call it."""
    text: bool
    """Whether passages are in the prompt."""
    weights: bool
    """Whether their adapters are injected."""


MODES = {
    mode.name: mode
    for mode in (
        Mode("vanilla", text=False, weights=False),
        Mode("t-rag", text=True, weights=False),
        Mode("p-rag", text=False, weights=True),
        Mode("pt-rag", text=True, weights=True),
    )
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question ready for the engine, and what went into it."""

    request: Request
    """What the engine is to answer."""
    used: tuple[Used, ...]
    """The retrieved passages and where each goes; then adapters that were asked for beside them."""
    retrieve_ms: float
    """Query to hits."""
    gather_ms: float
    """Adapters read and combined."""


class Pipeline:
    """Answers questions from a collection with one engine in one mode."""

    def __init__(
        self,
        collection: Collection,
        engine: Engine,
        mode: str = "pt-rag",
        *,
        top_k: int = 3,
        text_k: int | None = None,
        adapter_k: int | None = None,
        recipe: str | Recipe = "default",
        retriever: str | Retriever = "bm25",
        aggregator: str = "concat",
        weighting: str = "score",
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> None:
        """Settles everything but the question.

        Args:
            mode: vanilla, t-rag, p-rag or pt-rag.
            top_k: passages to retrieve.
            text_k: how many of them go into the prompt; None takes what the mode says (all or none).
            adapter_k: how many of them go into the weights; None takes what the mode says.
            recipe: whose adapters to use.
            retriever: `bm25`, `dense`, `hybrid`, or a function (query, k) -> hits.
            aggregator: how adapters are combined.
            weighting: how much each counts.

        Raises:
            ConfigError: an unknown mode or rule, or counts that do not fit.
        """
        if mode not in MODES:
            raise ConfigError(f"unknown mode {mode!r}: {did_you_mean(mode, MODES)}")
        if top_k < 0:
            raise ConfigError(f"top_k is {top_k}; expected 0 or more passages")
        self.collection, self.engine, self.mode = collection, engine, MODES[mode]
        self.text_k = _count("text_k", text_k, top_k if self.mode.text else 0)
        self.adapter_k = _count("adapter_k", adapter_k, top_k if self.mode.weights else 0)
        self.top_k = max(self.text_k, self.adapter_k)
        self.recipe = load_recipe(recipe)
        self._retriever = retriever_of(retriever, collection) if isinstance(retriever, str) else retriever
        self._aggregate, self._weigh = aggregator_of(aggregator), weighting_of(weighting)
        self._settings: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "stop": tuple(stop),
        }

    def ask(self, question: str) -> Answer:
        """Answers one question.

        Raises:
            NotFoundError: a retrieved passage has no adapter under the recipe and the mode needs it.
            ConfigError: the question is empty.
        """
        return self.ask_many([question])[0]

    def ask_many(self, questions: Sequence[str]) -> list[Answer]:
        """Answers questions in batches; each answer is what `ask` would give."""
        started = time.perf_counter()
        prepared = [self.prepare(question) for question in questions]
        completions = self.engine.generate([entry.request for entry in prepared])
        total_ms = (time.perf_counter() - started) * 1000
        return [
            self._answer(question, entry, completion, total_ms)
            for question, entry, completion in zip(questions, prepared, completions, strict=True)
        ]

    def stream(self, question: str) -> Iterator[str]:
        """Yields the answer's text as it grows."""
        yield from self.engine.stream(self.prepare(question).request)

    def retrieve(self, query: str, k: int | None = None) -> list[Hit]:
        """Returns the best k passages for a query, best first; `top_k` of them if k is None."""
        k = self.top_k if k is None else k
        return self._retriever(query, k) if k else []

    def prepare(
        self,
        question: str,
        *,
        prompt: Callable[[Sequence[Passage]], list[int]] | None = None,
        scales: Mapping[str, float] | None = None,
        skip_missing: bool = False,
        **settings: Any,
    ) -> Prepared:
        """Does everything that comes before the engine.

        Args:
            question: what to retrieve for.
            prompt: passages for the text -> token ids; None puts the question into the usual template.
            scales: passage id -> weight of its adapter, instead of those of the passages found; 0 leaves it out.
            skip_missing: passages without an adapter stay out of the weights, instead of being an error.
            settings: fields of `Request` that differ from the pipeline's own.

        Raises:
            NotFoundError: an adapter is missing.
            ConfigError: the question is empty, or a setting cannot be used.
        """
        if not question.strip():
            raise ConfigError("the question is empty; expected some text")
        started = time.perf_counter()
        hits = self.retrieve(question)
        retrieved = time.perf_counter()
        weights: Mapping[str, float]
        if scales is None:
            best = hits[: self.adapter_k]
            weights = dict(zip((hit.passage.id for hit in best), self._weigh([hit.score for hit in best]), strict=True))
        else:
            weights = {passage_id: scale for passage_id, scale in scales.items() if scale}
        injection, weights = self._inject(weights, skip_missing)
        gathered = time.perf_counter()
        passages = [hit.passage for hit in hits[: self.text_k]]
        ids = prompt(passages) if prompt else prompt_ids(self.engine.base.tokenizer, question, passages)
        request = Request(ids, injection, **{**self._settings, **settings})
        found = {hit.passage.id for hit in hits}
        used = [self._used(hit, rank < self.text_k, weights) for rank, hit in enumerate(hits)]
        used += [self._used(hit, False, weights) for hit in self._others([key for key in weights if key not in found])]
        return Prepared(request, tuple(used), (retrieved - started) * 1000, (gathered - retrieved) * 1000)

    def _used(self, hit: Hit, in_text: bool, weights: Mapping[str, float]) -> Used:
        weight = weights.get(hit.passage.id)
        return Used(hit, in_text, adapter=None if weight is None else self._key(hit), weight=weight or 0.0)

    def _others(self, passage_ids: list[str]) -> list[Hit]:
        documents = self.collection.document_of(passage_ids)
        return [Hit(passage, documents[passage.id], 0.0) for passage in self.collection.passages(passage_ids)]

    def _inject(self, weights: Mapping[str, float], skip_missing: bool) -> tuple[Injection | None, Mapping[str, float]]:
        """Returns the injection, and the weights of the adapters that are in it."""
        base, recipe = self.engine.fingerprint, self.recipe
        while weights:
            try:
                rows = self.collection.gather(list(weights), base=base, recipe=recipe.id)
            except NotFoundError as error:
                encoded = self.collection.encoded(base, recipe.id)
                there = {key: weight for key, weight in weights.items() if key in encoded}
                if skip_missing and len(there) < len(weights):
                    weights = there
                    continue
                raise NotFoundError(
                    f"{error}\nMode {self.mode.name} injects adapters of recipe {recipe.name!r} ({recipe.id}) for "
                    f"{self.engine.base.name}; make them with `paramrag encode`, or ask in mode t-rag"
                ) from error
            return self._aggregate(self.engine.layout(recipe), rows, list(weights.values()), recipe.activation), weights
        return None, {}

    def _key(self, hit: Hit) -> AdapterKey:
        return AdapterKey(hit.passage.id, self.engine.fingerprint, self.recipe.id)

    def _answer(self, question: str, entry: Prepared, completion: Completion, total_ms: float) -> Answer:
        return Answer(
            question=question,
            mode=self.mode.name,
            text=completion.text.strip(),
            used=entry.used,
            trace=Trace(
                retrieve_ms=entry.retrieve_ms,
                gather_ms=entry.gather_ms,
                prefill_ms=completion.prefill_ms,
                decode_ms=completion.decode_ms,
                total_ms=total_ms,
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=len(completion.token_ids),
            ),
            finish_reason=completion.finish_reason,
        )


def _count(name: str, given: int | None, default: int) -> int:
    if given is None:
        return default
    if given < 0:
        raise ConfigError(f"{name} is {given}; expected 0 or more passages")
    return given
