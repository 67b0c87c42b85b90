"""retrieve -> adapters -> aggregate -> inject -> generate: one question from hits to answer, in every mode.

A mode only says how many of the retrieved passages go into the text, how many into the weights, and who made the
adapters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from .aggregate import aggregator as aggregator_of
from .aggregate import weighting as weighting_of
from .aggregate.joining import join
from .conditions import Conditions
from .config import Parameterizer, Recipe, load_recipe
from .errors import ConfigError, NotFoundError, did_you_mean
from .infer import Completion, Engine, Request
from .models import answer_ids, prompt_ids
from .modes import MODES, weights_alone
from .parameterize import task_adapter
from .retrieve import Retriever
from .retrieve import retriever as retriever_of
from .store import Collection
from .types import AdapterKey, Answer, Hit, Injection, Passage, Query, Trace, Used

ADAPTERS_DOUBT = 0.2
"""What is taken off the mean log-probability, in nats, of an answer that adapters alone give: they are trained to be
sure, and are surer than they are right. HasAnswer of 288 questions of nine data sets: 47.6 at 0.2, 46.2 at 0.1, 44.8
at 0, 45.5 without adapters (docs/log.md)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question ready for the engine, and what went into it."""

    question: str
    """As it was asked."""
    requests: tuple[Request, ...]
    """What the engine is to answer; of several, the surest answer counts."""
    doubts: tuple[float, ...]
    """How much each answer is doubted, in nats a token (`surest`)."""
    used: tuple[Used, ...]
    """The retrieved passages and where each goes; then adapters that were asked for beside them."""
    retrieve_ms: float
    """Query to hits."""
    gather_ms: float
    """Adapters read and combined."""

    @property
    def request(self) -> Request:
        """The one request of a mode in which all sources answer together.

        Raises:
            ConfigError: they answer apart.
        """
        if len(self.requests) > 1:
            raise ConfigError(
                "in a late mode every source answers apart, and this looks at one answer; use the mode without -late"
            )
        return self.requests[0]


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
        weighting: str = "evidence",
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        base_injection: Injection | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        """Settles everything but the question.

        Args:
            mode: vanilla, t-rag, p-rag or pt-rag; dyp-rag or dypt-rag for predicted adapters. In t-rag-late,
                p-rag-late and so on every source answers by itself, and the surest answer is given (`_apart`).
            top_k: passages to retrieve.
            text_k: how many of them go into the prompt; None takes what the mode says (all or none).
            adapter_k: how many of them go into the weights; None takes what the mode says.
            recipe: whose adapters to use.
            retriever: `bm25`, `dense`, `hybrid`, or a function (query, k) -> hits.
            aggregator: how adapters are combined: `concat`, or another rule with its options, `ties:density=0.2`.
            weighting: how much each counts.
            base_injection: on in every mode, beneath the adapters: a task adapter, as a control. None: the recipe's own
                where its adapters were trained on top of one and the mode uses them, else none.
            conditions: noise in text or adapters, damage to adapters; None for none.

        Raises:
            ConfigError: an unknown mode or rule, counts that do not fit, or a recipe whose adapters the mode does not
                inject.
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
        if self.mode.weights and self.mode.parameterizer != self.recipe.parameterizer:
            raise ConfigError(
                f"mode {mode} injects {_MADE[self.mode.parameterizer]} adapters, those of recipe {self.recipe.name!r} "
                f"are {_MADE[self.recipe.parameterizer]}; use mode {weights_alone(self.recipe)} or its like with text, "
                "or another recipe"
            )
        self._retriever = retriever_of(retriever, collection) if isinstance(retriever, str) else retriever
        self.aggregate, self._weigh = aggregator_of(aggregator), weighting_of(weighting)
        self._settings: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "stop": tuple(stop),
        }
        self._given = base_injection
        if base_injection is None and self.recipe.task and self.adapter_k:
            base_injection = task_adapter(engine, self.recipe)
        if base_injection and self.adapter_k and base_injection.activation != self.recipe.activation:
            raise ConfigError(
                f"base_injection has activation {base_injection.activation}, recipe {self.recipe.name!r} "
                f"{self.recipe.activation}; make both under recipes of the same activation"
            )
        self._base_injection = base_injection
        self._conditions = conditions or Conditions()

    @cached_property
    def _readers(self) -> tuple[Injection | None, ...]:
        """What is on while a passage is read apart: in turn nothing and the task adapter, which the first use may have
        to train; or what was given to be on in every mode."""
        return (self._given,) if self._given else (None, task_adapter(self.engine, self.recipe))

    def ask(self, question: str | Query) -> Answer:
        """Answers one question.

        Raises:
            NotFoundError: a retrieved passage has no adapter under the recipe and the mode needs it.
            ConfigError: the question is empty.
        """
        return self.ask_many([question])[0]

    def ask_many(self, questions: Sequence[str | Query]) -> list[Answer]:
        """Answers questions in batches; each answer is what `ask` would give."""
        started = time.perf_counter()
        prepared = [self.prepare(question) for question in questions]
        chosen = self.engine.surest([(entry.requests, entry.doubts) for entry in prepared])
        total_ms = (time.perf_counter() - started) * 1000
        return [self._answer(entry, completion, total_ms) for entry, completion in zip(prepared, chosen, strict=True)]

    def stream(self, question: str | Query) -> Iterator[str]:
        """Yields the answer's text as it grows; where it is chosen among several, all at once."""
        prepared = self.prepare(question)
        if len(prepared.requests) == 1:
            yield from self.engine.stream(prepared.request)
        else:
            (completion,) = self.engine.surest([(prepared.requests, prepared.doubts)])
            yield completion.text

    def request(self, question: str | Query) -> tuple[Request, tuple[Used, ...]]:
        """Returns what `ask` gives the engine, and what each retrieved passage contributes to it."""
        prepared = self.prepare(question)
        return prepared.request, prepared.used

    def retrieve(self, query: str, k: int | None = None) -> list[Hit]:
        """Returns the best k passages for a query, best first; `top_k` of them if k is None."""
        k = self.top_k if k is None else k
        return self._retriever(query, k) if k else []

    def hits(self, question: str | Query) -> tuple[list[Hit], list[Hit]]:
        """Returns the passages for the prompt and those whose adapters are injected, under the conditions."""
        query = Query(question) if isinstance(question, str) else question
        if not query.text.strip():
            raise ConfigError("the question is empty; expected some text")
        found = list(query.hits) if query.hits is not None else self.retrieve(query.text)
        for_text, for_weights = found[: self.text_k], found[: self.adapter_k]
        if self._conditions.text:
            for_text = self._conditions.text(query, for_text)
        if self._conditions.adapters:
            for_weights = self._conditions.adapters(query, for_weights)
        return for_text, for_weights

    def counted(self, question: str | Query) -> list[Hit]:
        """Returns the passages whose adapters count for the question: the ones that have to be encoded to ask it."""
        _, adapted = self.hits(question)
        weights = self._weights(question, adapted)
        return [hit for hit, weight in zip(adapted, weights, strict=True) if weight]

    def prepare(
        self,
        question: str | Query,
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
        started = time.perf_counter()
        for_text, adapted = self.hits(question)
        retrieved = time.perf_counter()
        counts = self._weights(question, for_text) if self.mode.apart else []
        if scales is None:
            weights = counts if self.mode.apart and adapted == for_text else self._weights(question, adapted)
            weights = [weight * self.mode.strength for weight in weights]
        else:
            adapted = self._asked_for([key for key, scale in scales.items() if scale], [*for_text, *adapted])
            weights = [scales[hit.passage.id] for hit in adapted]
        if skip_missing:
            adapted, weights = self._encoded(adapted, weights)
        together = self.mode.text or not self.mode.apart or scales is not None
        injections = self._injections(adapted, weights, together=together)
        gathered = time.perf_counter()
        asked = prompt or partial(prompt_ids, self.engine.base.tokenizer, question)
        choices = question.choices if isinstance(question, Query) else ()
        allowed = tuple(answer_ids(self.engine.base.tokenizer, choice) for choice in choices)
        length = max([self._settings["max_new_tokens"], *map(len, allowed)])  # a choice is said whole
        settings = {**self._settings, "choices": allowed, "max_new_tokens": length, **settings}
        if self.mode.apart:
            for_text, counts = _counting(for_text, counts)
            sources = self._apart(asked, [hit.passage for hit in for_text], counts, injections, settings)
        else:
            injection = injections[0][0] if injections else self._base_injection
            sources = [(Request(asked([hit.passage for hit in for_text]), injection, **settings), 0.0)]
        requests, doubts = zip(*sources, strict=True)
        return Prepared(
            question.text if isinstance(question, Query) else question,
            requests,
            doubts,
            tuple(self._used(for_text, adapted, weights)),
            (retrieved - started) * 1000,
            (gathered - retrieved) * 1000,
        )

    def _apart(
        self,
        prompt: Callable[[Sequence[Passage]], list[int]],
        passages: Sequence[Passage],
        weights: Sequence[float],
        injections: Sequence[tuple[Injection, float]],
        settings: Mapping[str, Any],
    ) -> list[tuple[Request, float]]:
        """Returns a request for each source, and how much its answer is doubted, in nats a token.

        Every passage is read by itself, by the model as it is and with the task adapter, the two sharing the reading.
        Adapters answer closed book: each by itself where there is no text, else together, since the surest of more
        guesses is more often a wrong one (docs/log.md). What is retrieved with less weight is doubted by the logarithm
        of how much less, as RAG-Sequence multiplies by the retriever's probability (arXiv 2005.11401, sec. 2.1), with
        the likeliest source in place of their sum.
        """
        settings = {**settings, "logprobs": settings.get("logprobs") or 0}
        sources = []
        for passage, weight in zip(passages, weights, strict=True):
            ids, doubt = prompt([passage]), math.log(max(weights) / weight)
            sources += [(Request(ids, reader, **settings), doubt) for reader in self._readers]
        closed = prompt([])
        sources += [(Request(closed, own, **settings), doubt + ADAPTERS_DOUBT) for own, doubt in injections]
        return sources or [(Request(closed, self._base_injection, **settings), 0.0)]

    def _weights(self, question: str | Query, hits: Sequence[Hit]) -> list[float]:
        text, passage_ids = question if isinstance(question, str) else question.text, [hit.passage.id for hit in hits]
        return self._weigh([hit.score for hit in hits], lambda: self.collection.coverage(text, passage_ids))

    def _asked_for(self, passage_ids: list[str], found: Sequence[Hit]) -> list[Hit]:
        """Returns hits of passages whose adapters were asked for by id, whether they were retrieved or not."""
        known = {hit.passage.id: hit for hit in found}
        others = [key for key in passage_ids if key not in known]
        documents = self.collection.document_of(others)
        known |= {one.id: Hit(one, documents[one.id], 0.0) for one in self.collection.passages(others)}
        return [known[key] for key in passage_ids]

    def _encoded(self, hits: Sequence[Hit], weights: Sequence[float]) -> tuple[list[Hit], list[float]]:
        """Returns the hits that have an adapter, with their weights."""
        passage_ids = [hit.passage.id for hit in hits]
        encoded = self.collection.encoded(self.engine.fingerprint, self.recipe.id, passage_ids)
        pairs = [(hit, weight) for hit, weight in zip(hits, weights, strict=True) if hit.passage.id in encoded]
        return [hit for hit, _ in pairs], [weight for _, weight in pairs]

    def _used(self, for_text: Sequence[Hit], adapted: Sequence[Hit], weights: Sequence[float]) -> Iterator[Used]:
        """Yields each passage with what it contributed, rank by rank."""
        weight_of = {hit.passage.id: weight for hit, weight in zip(adapted, weights, strict=True)}
        in_text = {hit.passage.id for hit in for_text}
        for rank in range(max(len(for_text), len(adapted))):
            for hit in for_text[rank : rank + 1]:
                weight = weight_of.get(hit.passage.id)
                yield Used(hit, True, adapter=None if weight is None else self._key(hit), weight=weight or 0.0)
            for hit in adapted[rank : rank + 1]:
                if hit.passage.id not in in_text:
                    yield Used(hit, False, adapter=self._key(hit), weight=weight_of[hit.passage.id])

    def _injections(
        self, hits: Sequence[Hit], weights: Sequence[float], *, together: bool
    ) -> list[tuple[Injection, float]]:
        """Returns the adapters that count as one injection, or each as one of its own, with how much it is doubted.

        Each alone has the strength that they have together, at most 1.
        """
        counted = [(hit.passage.id, weight) for hit, weight in zip(hits, weights, strict=True) if weight]
        if not counted:
            return []
        passage_ids, scales = zip(*counted, strict=True)
        base, recipe = self.engine.fingerprint, self.recipe
        layout = self.engine.layout(recipe)
        try:
            rows = (self._conditions.source or self.collection).gather(passage_ids, base=base, recipe=recipe.id)
        except NotFoundError as error:
            raise NotFoundError(
                f"{error}\nMode {self.mode.name} injects adapters of recipe {recipe.name!r} ({recipe.id}) for "
                f"{self.engine.base.name}; make them with `paramrag encode{_HOW[recipe.parameterizer]}`, or "
                "ask in mode t-rag"
            ) from error
        if self._conditions.rows:
            rows = self._conditions.rows(layout, rows, passage_ids)

        def injection(rows: np.ndarray, scales: Sequence[float]) -> Injection:
            joined = join([self._base_injection, self.aggregate(layout, rows, scales, recipe.activation)])
            assert joined is not None
            return joined

        if together:
            return [(injection(rows, scales), 0.0)]
        strength, most = min(1.0, sum(scales)), max(scales)
        return [
            (injection(row[None], [strength]), math.log(most / scale)) for row, scale in zip(rows, scales, strict=True)
        ]

    def _key(self, hit: Hit) -> AdapterKey:
        return AdapterKey(hit.passage.id, self.engine.fingerprint, self.recipe.id)

    def _answer(self, entry: Prepared, completion: Completion, total_ms: float) -> Answer:
        return Answer(
            question=entry.question,
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


def _counting(hits: Sequence[Hit], weights: Sequence[float]) -> tuple[list[Hit], list[float]]:
    """Returns the hits that count, with their weights; all, alike, where none does."""
    pairs = [(hit, weight) for hit, weight in zip(hits, weights, strict=True) if weight > 0]
    pairs = pairs or [(hit, 1.0) for hit in hits]
    return [hit for hit, _ in pairs], [weight for _, weight in pairs]


_MADE: dict[Parameterizer, str] = {"static": "trained", "dynamic": "predicted"}
_HOW: dict[Parameterizer, str] = {"static": "", "dynamic": " --method dynamic [--hypernet FOLDER]"}


def _count(name: str, given: int | None, default: int) -> int:
    if given is None:
        return default
    if given < 0:
        raise ConfigError(f"{name} is {given}; expected 0 or more passages")
    return given
