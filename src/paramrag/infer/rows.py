"""One request in the batch: what was read of its prompt, what it has said so far, and who hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..models import BaseModel
from .prefixes import common_length
from .request import Completion, FinishReason, Request, TokenLogprob, Update
from .sampling import logprobs, next_token, only
from .text import TextStream

Listener = Callable[[Update], None]
"""Hears of a request; called by whichever thread runs the step, so it must not block."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A request on its way; `completion` or `error` is set once `done`."""

    request: Request
    """As submitted."""
    listener: Listener | None = None
    """Hears every update."""
    completion: Completion | None = None
    """The answer."""
    error: BaseException | None = None
    """Why there is none."""
    cancelled: bool = False
    """Whether its caller gave it up; its row is free from the next step on."""

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return self.cancelled or self.completion is not None or self.error is not None

    def tell(self, update: Update) -> None:
        """Passes news on to the listener, unless the request was given up."""
        if self.listener is not None and not self.cancelled:
            self.listener(update)

    def fail(self, error: BaseException) -> None:
        """Ends the request with an error, if it has not ended."""
        if not self.done:
            self.error = error
            self.tell(Update(error=error))


class Row:
    """A request that waits, is being read, or is answering."""

    def __init__(self, ticket: Ticket, base: BaseModel) -> None:
        request = ticket.request
        self.ticket, self.request, self.full = ticket, request, request.full
        self.prompt = np.asarray(request.prompt_ids[:-1], dtype=np.int64)
        """What is read; the last token is the first to answer from."""
        self.slot = -1
        """Its row in the tables of keys, values and factors; -1 while it waits."""
        self.length = self.reused = 0
        """Tokens in the cache, and how many of the prompt's were not read for it."""
        self.token: int | None = None
        """The next to feed; None while the prompt is being read."""
        self._stream = TextStream(base.tokenizer, request.stop)
        self._generator = torch.Generator().manual_seed(request.seed) if request.temperature > 0 else None
        self.submitted, self.begun, self._first = time.perf_counter(), 0.0, 0.0
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] = []

    @property
    def unread(self) -> int:
        """Prompt tokens that are to be read before it can answer."""
        return len(self.prompt) - self.length

    def shared(self, other: Row) -> int:
        """Returns how many tokens two prompts begin with, whose keys and values are the same."""
        return 0 if self.full or other.full else common_length(self.prompt, other.prompt)

    def answer(self, logits_V: torch.Tensor, likeliest: int, stop_ids: frozenset[int]) -> bool:
        """Takes the next token from logits and tells the listener; returns whether the row goes on."""
        request, now = self.request, time.perf_counter()
        self._first = self._first or now
        self.token = likeliest
        if request.temperature > 0 or request.choices:
            self.token = next_token(
                only(logits_V, self._allowed(stop_ids)) if request.choices else logits_V,
                temperature=request.temperature,
                top_p=request.top_p,
                generator=self._generator,
            )
        ended: FinishReason | None = None
        news: Sequence[TokenLogprob] = ()
        if self.token in stop_ids:
            text, ended = self._stream.finish(), "stop"
        else:
            self._tokens.append(self.token)
            if request.logprobs is not None:
                news = (logprobs(logits_V, self.token, request.logprobs),)
                self._logprobs.extend(news)
            text = self._stream.push(self.token)
            if self._stream.stopped:
                ended = "stop"
            elif request.choices and self._allowed(stop_ids) <= stop_ids:  # a choice is said, and none goes on
                text, ended = text + self._stream.finish(), "stop"
            elif len(self._tokens) >= request.max_new_tokens:
                text, ended = text + self._stream.finish(), "length"
        completion = self._completion(ended, now) if ended else None
        self.ticket.completion = completion
        self.ticket.tell(Update(text, tuple(news), completion))
        return not ended

    def _allowed(self, stop_ids: frozenset[int]) -> set[int]:
        """Returns the tokens that the choices leave open: how those go on that begin like the answer, or its end."""
        said = tuple(self._tokens)
        rests = [choice[len(said) :] for choice in self.request.choices if choice[: len(said)] == said]
        return {rest[0] for rest in rests if rest} | (set() if all(rests) else set(stop_ids))

    @property
    def said(self) -> int:
        """Tokens generated so far."""
        return len(self._tokens)

    def _completion(self, ended: FinishReason, now: float) -> Completion:
        return Completion(
            text=self._stream.text,
            token_ids=tuple(self._tokens),
            finish_reason=ended,
            prompt_tokens=len(self.request.prompt_ids),
            reused_tokens=self.reused,
            queue_ms=(self.begun - self.submitted) * 1000,
            prefill_ms=(self._first - self.begun) * 1000,
            decode_ms=(now - self._first) * 1000,
            logprobs=tuple(self._logprobs),
        )
