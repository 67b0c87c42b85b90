"""From a validated body to a running request, and from its updates to OpenAI's JSON."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..analyze.explain import explain
from ..config import Parameterizer, Recipe
from ..errors import ConfigError, ModelError, NotFoundError, did_you_mean
from ..infer import Completion, Engine, Request, TokenLogprob
from ..models import DEFAULT_SYSTEM, answer_ids, chat_ids
from ..models.prompts import user_turn
from ..modes import MODES
from ..parameterize import task_ready
from ..pipeline import Pipeline, Prepared
from ..store import Collection
from ..types import Passage, Used
from .driver import Driver
from .problems import Problem
from .protocol import ChatRequest, CompletionRequest, ExplainRequest, Scale
from .settings import Settings

REWRITE = (
    "Rewrite the user's last question so that it can be understood without the conversation: name what it is about. "
    "Write the question alone."
)
REWRITE_TOKENS = 48
EXPLAINED_TOKENS = 64
"""Most tokens of an answer that is explained: all other requests wait for it."""


@dataclass(slots=True)
class Asked:
    """A request on its way to the engine."""

    body: ChatRequest | CompletionRequest
    """As sent."""
    pipeline: Pipeline
    """Of the model that was named."""
    prepared: Prepared
    """What the engine gets."""
    query: str
    """What was searched for."""
    started: float
    """When it came, by `time.perf_counter`."""
    id: str
    """Names the answer."""
    created: int = field(default_factory=lambda: int(time.time()))
    """When it came, in seconds since 1970."""
    told: int = 0
    """Letters of the tokens whose logprobs were sent."""

    @property
    def chat(self) -> bool:
        """Whether it is a conversation."""
        return isinstance(self.body, ChatRequest)


class Answers:
    """The models that a server offers: one per mode, all of one engine and collection."""

    def __init__(
        self,
        collection: Collection,
        engine: Engine,
        recipes: Mapping[Parameterizer, Recipe],
        settings: Settings,
        driver: Driver,
    ) -> None:
        self.base_name = Path(engine.base.name).name
        self._engine, self._settings, self._driver = engine, settings, driver
        self._pipelines = {
            f"{self.base_name}:{mode.name}": Pipeline(
                collection,
                engine,
                mode.name,
                top_k=settings.top_k,
                text_k=settings.text_k if mode.text else None,
                recipe=recipes[mode.parameterizer],
                retriever=settings.retriever,
                aggregator=settings.aggregator,
                weighting=settings.weighting,
                max_new_tokens=settings.max_new_tokens,
            )
            for mode in MODES.values()
            if mode.parameterizer in recipes and (not mode.task or task_ready(engine, recipes[mode.parameterizer]))
        }

    @property
    def models(self) -> list[str]:
        """Ids of the models."""
        return list(self._pipelines)

    def pipeline(self, model: str) -> Pipeline:
        """Returns what answers for a model.

        Raises:
            Problem: 404, there is none of that name.
        """
        if model not in self._pipelines:
            hint = did_you_mean(model, self._pipelines)
            raise Problem(404, f"unknown model {model!r}: {hint}", code="model_not_found", param="model")
        return self._pipelines[model]

    async def ask(self, body: ChatRequest | CompletionRequest) -> Asked:
        """Retrieves, gathers and makes the prompt.

        Raises:
            Problem: the request cannot be answered as it is.
        """
        started = time.perf_counter()
        pipeline = self.pipeline(body.model)
        scales = self._scales(pipeline, body.lora)
        query, prompt = await self._question(body)
        length = body.length or self._settings.max_new_tokens
        if length > self._settings.token_limit:
            raise Problem(
                400,
                f"{length} tokens are asked for; at most {self._settings.token_limit} are given",
                code="too_many_tokens",
                param="max_tokens",
            )
        settings: dict[str, Any] = {
            "max_new_tokens": length,
            "temperature": body.temperature or 0.0,
            "top_p": body.top_p or 1.0,
            # without a seed, no two samples are alike, as clients expect
            "seed": secrets.randbits(32) if body.seed is None else body.seed % 2**63,
            "stop": body.stops,
            "logprobs": body.top,
        }
        if isinstance(body, ChatRequest) and body.guided_choice:
            settings["choices"] = tuple(answer_ids(self._engine.base.tokenizer, text) for text in body.guided_choice)

        def prepare() -> Prepared:
            return pipeline.prepare(query, prompt=prompt, scales=scales, skip_missing=scales is None, **settings)

        prepared = await asyncio.to_thread(_again_if_forgotten, prepare, scales is None)
        self._check_length(max(len(request.prompt_ids) for request in prepared.requests), length)
        kind = "chatcmpl" if isinstance(body, ChatRequest) else "cmpl"
        return Asked(body, pipeline, prepared, query, started, f"{kind}-{secrets.token_hex(12)}")

    async def _question(
        self, body: ChatRequest | CompletionRequest
    ) -> tuple[str, Callable[[Sequence[Passage]], list[int]]]:
        """Returns what to search for, and how passages become a prompt."""
        tokenizer = self._engine.base.tokenizer
        if isinstance(body, CompletionRequest):

            def raw(passages: Sequence[Passage]) -> list[int]:
                blocks = [f"{passage.title}\n{passage.text}".strip() for passage in passages]
                return list(tokenizer("\n\n".join([*blocks, body.text])).input_ids)

            return body.text, raw
        system = body.messages[0].text if body.messages[0].role in ("system", "developer") else DEFAULT_SYSTEM
        turns = [{"role": message.role, "content": message.text} for message in body.messages]
        turns = [turn for turn in turns if turn["role"] in ("user", "assistant")]
        question = turns[-1]["content"]

        def conversation(passages: Sequence[Passage]) -> list[int]:
            last = {"role": "user", "content": user_turn(question, passages)}
            first = [{"role": "system", "content": system}] if system else []
            try:
                return chat_ids(tokenizer, [*first, *turns[:-1], last])
            except ModelError as error:
                raise ConfigError(str(error)) from error

        if not body.rewrite or len(turns) == 1:
            return question, conversation
        wish = [{"role": "system", "content": REWRITE}, *turns]
        ids = chat_ids(tokenizer, wish)
        self._check_length(len(ids), REWRITE_TOKENS)
        running = self._driver.run([Request(ids, max_new_tokens=REWRITE_TOKENS, stop=("\n",))])
        try:
            return (await running.completion()).text.strip() or question, conversation
        finally:
            running.close()

    def explain(self, body: ExplainRequest) -> dict[str, Any]:
        """Answers a question and says what moved each token of the answer; other requests wait meanwhile.

        Raises:
            Problem: the request cannot be answered as it is.
        """
        pipeline = self.pipeline(body.model)
        scales = self._scales(pipeline, body.lora)
        if body.max_tokens > EXPLAINED_TOKENS:
            raise Problem(
                400,
                f"{body.max_tokens} tokens are to be explained; at most {EXPLAINED_TOKENS} are",
                code="too_many_tokens",
                param="max_tokens",
            )
        settings: dict[str, Any] = {"max_new_tokens": body.max_tokens, "scales": scales, "skip_missing": scales is None}
        prepared = pipeline.prepare(body.question, **settings)
        self._check_length(len(prepared.request.prompt_ids), body.max_tokens)
        with self._engine.scheduler.alone():
            return explain(pipeline, body.question, **settings).to_json()

    def _scales(self, pipeline: Pipeline, lora: list[Scale] | None) -> dict[str, float] | None:
        if lora is None:
            return None
        if not pipeline.mode.weights:
            raise Problem(
                400,
                f"model {self.base_name}:{pipeline.mode.name} injects no adapters; leave lora out, or ask a model "
                "that does, such as p-rag or pt-rag",
                code="no_adapters",
                param="lora",
            )
        scales = {}
        for entry in lora:
            passage_id, _, recipe = entry.id.partition("-")
            if recipe and recipe != pipeline.recipe.id:
                raise Problem(
                    400,
                    f"adapter {entry.id!r} is of recipe {recipe}; this server's is {pipeline.recipe.id}",
                    code="wrong_recipe",
                    param="lora",
                )
            scales[passage_id] = entry.scale
        return scales

    def _check_length(self, prompt: int, answer: int) -> None:
        if prompt + answer > self._engine.context_length:
            raise Problem(
                400,
                f"the prompt has {prompt} tokens and {answer} are asked for; the model takes "
                f"{self._engine.context_length} together. Shorten the conversation, or lower max_tokens",
                code="context_length_exceeded",
                param="messages",
            )

    # What is sent

    def whole(self, asked: Asked, completion: Completion) -> dict[str, Any]:
        """Returns the body of an answer that is sent at once."""
        logprobs = self._logprobs(asked, completion.logprobs)
        choice: dict[str, Any] = {"index": 0, "finish_reason": completion.finish_reason, "logprobs": logprobs}
        if asked.chat:
            choice["message"] = {"role": "assistant", "content": completion.text, "refusal": None}
        else:
            choice["text"] = completion.text
        kind = "chat.completion" if asked.chat else "text_completion"
        return {
            **self._head(asked, kind),
            "choices": [choice],
            "usage": usage(completion),
            **self._opening(asked),
            **self._closing(asked, completion),
        }

    def opening(self, asked: Asked) -> dict[str, Any]:
        """Returns the first chunk of a stream."""
        chunk = self._chunk(asked, "", role=True)
        return {**chunk, **self._opening(asked)}

    def piece(self, asked: Asked, text: str, logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any]:
        """Returns a chunk with text."""
        return self._chunk(asked, text, logprobs=logprobs)

    def closing(self, asked: Asked, completion: Completion) -> list[dict[str, Any]]:
        """Returns the last chunks of a stream."""
        last = self._chunk(asked, "", finish_reason=completion.finish_reason)
        chunks = [{**last, **self._closing(asked, completion)}]
        options = asked.body.stream_options
        if options and options.include_usage:
            chunks.append({**self._head(asked, chunks[0]["object"]), "choices": [], "usage": usage(completion)})
        return chunks

    def _chunk(
        self,
        asked: Asked,
        text: str,
        *,
        role: bool = False,
        logprobs: tuple[TokenLogprob, ...] = (),
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": 0,
            "logprobs": self._logprobs(asked, logprobs) if logprobs else None,
            "finish_reason": finish_reason,
        }
        if asked.chat:
            delta: dict[str, Any] = {"role": "assistant"} if role else {}
            choice["delta"] = delta if finish_reason else {**delta, "content": text}
        else:
            choice["text"] = text
        kind = "chat.completion.chunk" if asked.chat else "text_completion"
        return {**self._head(asked, kind), "choices": [choice]}

    def _head(self, asked: Asked, kind: str) -> dict[str, Any]:
        return {"id": asked.id, "object": kind, "created": asked.created, "model": asked.body.model}

    def _opening(self, asked: Asked) -> dict[str, Any]:
        if not asked.body.references:
            return {}
        return {"references": [reference(entry) for entry in asked.prepared.used], "retrieval_query": asked.query}

    def _closing(self, asked: Asked, completion: Completion) -> dict[str, Any]:
        if not asked.body.references:
            return {}
        return {
            "timings_ms": {
                "retrieve": round(asked.prepared.retrieve_ms, 2),
                "gather": round(asked.prepared.gather_ms, 2),
                "queue": round(completion.queue_ms, 2),
                "prefill": round(completion.prefill_ms, 2),
                "decode": round(completion.decode_ms, 2),
                "total": round((time.perf_counter() - asked.started) * 1000, 2),
            }
        }

    def _logprobs(self, asked: Asked, entries: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        if asked.body.top is None:
            return None
        if asked.chat:
            content = [
                {
                    **self._token(entry.token_id, entry.logprob),
                    "top_logprobs": [self._token(token, value) for token, value in entry.top],
                }
                for entry in entries
            ]
            return {"content": content, "refusal": None}
        tokens, offsets = [self._text(entry.token_id) for entry in entries], []
        for token in tokens:
            offsets.append(asked.told)
            asked.told += len(token)
        return {
            "tokens": tokens,
            "token_logprobs": [entry.logprob for entry in entries],
            "top_logprobs": [{self._text(token): value for token, value in entry.top} for entry in entries],
            "text_offset": offsets,
        }

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._text(token)
        whole = "\N{REPLACEMENT CHARACTER}" not in text  # else the token is a part of a letter
        return {"token": text, "logprob": logprob, "bytes": list(text.encode()) if whole else None}

    def _text(self, token: int) -> str:
        return str(self._engine.base.tokenizer.decode([token]))


def reference(entry: Used) -> dict[str, Any]:
    """Returns what an answer says of one passage."""
    return {
        "passage_id": entry.hit.passage.id,
        "document_id": entry.hit.document_id,
        "title": entry.hit.passage.title,
        "text": entry.hit.passage.text,
        "score": round(entry.hit.score, 4),
        "in_text": entry.in_text,
        "adapter_id": f"{entry.adapter.passage_id}-{entry.adapter.recipe}" if entry.adapter else None,
        "weight": round(entry.weight, 4),
    }


def usage(completion: Completion) -> dict[str, Any]:
    """Returns the token counts of an answer."""
    written = len(completion.token_ids)
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": completion.prompt_tokens + written,
        "prompt_tokens_details": {"cached_tokens": completion.reused_tokens},
    }


def _again_if_forgotten(prepare: Callable[[], Prepared], forgiving: bool) -> Prepared:
    """Prepares anew where a document was removed between finding its passage and reading it."""
    for _ in range(3 if forgiving else 0):
        try:
            return prepare()
        except NotFoundError:
            continue
    return prepare()
