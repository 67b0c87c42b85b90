"""Why this answer: which adapters and which passages moved the probability of its tokens.

Each is left out in turn, everything else stays, and the answer is forced again: the effect of a source on a token is
the token's log-probability with it less without it, in nats. Effects of sources that can stand in for one another are
small each, and large together; so both are given.

Shapes: K sources, M masks, N answer tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..models import prompt_ids
from ..pipeline import Pipeline
from ..types import Injection, Query, Used
from .forcing import Forced

Values = Callable[[Sequence[tuple[bool, ...]]], np.ndarray]
"""Masks over K sources -> what is measured with those sources that are true, float64 [M, N]."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one source, or all of a kind together, did to the answer."""

    kind: Literal["adapter", "text"]
    """Which way it came in."""
    source: int | None
    """Rank of the hit, from 0; None: all of this kind together."""
    log_probs: np.ndarray
    """Change of every token's log-probability, nats, float64 [N]."""

    @property
    def total(self) -> float:
        """Change of the whole answer's log-probability, nats."""
        return float(self.log_probs.sum())


@dataclass(frozen=True, slots=True)
class Explanation:
    """One answer, token by token."""

    question: str
    """As asked."""
    mode: str
    """Name of the mode."""
    answer: str
    """What the model said, stripped."""
    tokens: tuple[str, ...]
    """The answer's tokens as text [N]; none where the model ended at once."""
    log_probs: np.ndarray
    """Of each token, nats, float64 [N]."""
    used: tuple[Used, ...]
    """The hits; `Effect.source` counts among them."""
    effects: tuple[Effect, ...]
    """Of adapters, all and each, then of texts, all and each; a kind that the mode lacks is not there."""

    def to_json(self) -> dict[str, Any]:
        """Returns tokens with their probability, and effects in nats."""
        return {
            "answer": self.answer,
            "tokens": list(self.tokens),
            "probabilities": np.exp(self.log_probs).round(6).tolist(),
            "unit": "nats",
            "effects": [
                {
                    "kind": effect.kind,
                    "passage_id": None if effect.source is None else self.used[effect.source].hit.passage.id,
                    "title": None if effect.source is None else self.used[effect.source].hit.passage.title,
                    "total": round(effect.total, 6),
                    "tokens": effect.log_probs.round(6).tolist(),
                }
                for effect in self.effects
            ],
        }


def leave_one_out(full_N: np.ndarray, values: Values, count: int) -> np.ndarray:
    """Returns the effect of all K sources together and of each, float64 [1 + K, N]: with less without.

    Args:
        full_N: what is measured with every source.
        values: measures with some of them.
        count: K.
    """
    on = (True,) * count
    effects: np.ndarray = full_N - values(
        [(False,) * count, *((*on[:at], False, *on[at + 1 :]) for at in range(count))]
    )
    return effects


def explain(pipeline: Pipeline, question: str | Query, **settings: Any) -> Explanation:
    """Answers a question and says what moved each token of the answer.

    Costs one more answer's worth of reading for each passage in the text; adapters share one reading. No other thread
    may use the model meanwhile (`Scheduler.alone`).

    Args:
        pipeline: whose answer it is.
        question: to answer.
        settings: as of `Pipeline.prepare`: `max_new_tokens`, `scales`, `skip_missing`.

    Raises:
        NotFoundError: a retrieved passage has no adapter and the mode needs it.
        ConfigError: the question is empty.
    """
    engine = pipeline.engine
    base = engine.base
    prepared = pipeline.prepare(question, **settings)
    request, used = prepared.request, prepared.used
    completion = engine.generate([request])[0]
    response = completion.token_ids
    if not response:
        return Explanation(prepared.question, pipeline.mode.name, "", (), np.empty(0), used, ())
    adapters = [at for at, entry in enumerate(used) if entry.adapter is not None]
    texts = [at for at, entry in enumerate(used) if entry.in_text]

    def run(prompt: Sequence[int], injections: Sequence[Injection | None]) -> np.ndarray:
        return Forced(base, prompt, injections).log_probs(response).double().numpy()

    def with_adapters(masks: Sequence[tuple[bool, ...]]) -> np.ndarray:
        return run(request.prompt_ids, [_injection(pipeline, used, _kept(adapters, mask)) for mask in masks])

    def with_texts(masks: Sequence[tuple[bool, ...]]) -> np.ndarray:
        prompts = (
            prompt_ids(base.tokenizer, question, [used[at].hit.passage for at in _kept(texts, mask)]) for mask in masks
        )
        return np.concatenate([run(prompt, [request.injection]) for prompt in prompts])

    full_N = run(request.prompt_ids, [request.injection])[0]
    effects: list[Effect] = []
    kinds: tuple[tuple[Literal["adapter", "text"], list[int], Values], ...] = (
        ("adapter", adapters, with_adapters),
        ("text", texts, with_texts),
    )
    for kind, sources, values in kinds:
        if sources:
            found = leave_one_out(full_N, values, len(sources))
            effects += [Effect(kind, source, change) for source, change in zip([None, *sources], found, strict=True)]
    return Explanation(
        question=prepared.question,
        mode=pipeline.mode.name,
        answer=completion.text.strip(),
        tokens=tuple(base.tokenizer.decode([token]) for token in response),
        log_probs=full_N,
        used=used,
        effects=tuple(effects),
    )


def _kept(sources: Sequence[int], mask: tuple[bool, ...]) -> list[int]:
    return [source for source, keep in zip(sources, mask, strict=True) if keep]


def _injection(pipeline: Pipeline, used: Sequence[Used], kept: Sequence[int]) -> Injection | None:
    """The adapters of some hits, combined by the pipeline's rule with the weights they had."""
    if not kept or not any(used[at].weight for at in kept):
        return None
    engine, recipe = pipeline.engine, pipeline.recipe
    rows = pipeline.collection.gather(
        [used[at].hit.passage.id for at in kept], base=engine.fingerprint, recipe=recipe.id
    )
    return pipeline.aggregate(engine.layout(recipe), rows, [used[at].weight for at in kept], recipe.activation)
