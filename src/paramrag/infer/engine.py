"""Answers prompts in batches, each row with its own injection.

A prompt's last token is the first that is answered from: prompts are read up to it (by the base model alone, unless
an injection is `full`), then every step feeds one token per row with the injections on. That is answer-time
activation, as in activated LoRA (arXiv 2512.17910); it leaves the prompt's KV cache that of the base model.

Knows nothing of passages, collections or modes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from ..aggregate import concat
from ..config import Recipe
from ..errors import ConfigError, MismatchError
from ..models import BaseModel, load_base, stop_ids
from ..store.layout import AdapterLayout
from ..types import Adapter, Injection
from .injection import BatchFactors, injected, stack
from .prefill import Prompts
from .sampling import next_token
from .text import TextStream


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to answer."""

    prompt_ids: Sequence[int]
    """Token ids; at least one."""
    injection: Injection | None = None
    """What to add to the feed-forward layers while answering it."""
    max_new_tokens: int = 32
    """Cap on generated tokens."""
    temperature: float = 0.0
    """0: greedy."""
    top_p: float = 1.0
    """Nucleus mass when sampling."""
    seed: int = 0
    """Seed when sampling; the same request gives the same answer whatever batch it is in."""
    stop: tuple[str, ...] = ()
    """Strings that end the answer; not part of it."""

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise ConfigError("a request has an empty prompt; expected at least one token")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}; expected at least 1")
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ConfigError(
                f"temperature {self.temperature} and top_p {self.top_p}; expected temperature >= 0 and 0 < top_p <= 1"
            )


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to one request."""

    text: str
    """Generated text, special tokens and stop strings removed."""
    token_ids: tuple[int, ...]
    """Generated tokens, the end token not included."""
    finish_reason: Literal["stop", "length"]
    """Whether the model (or a stop string) ended it, or the cap."""
    prompt_tokens: int
    """Tokens in the prompt."""
    prefill_ms: float
    """From the start of its batch to the first token."""
    decode_ms: float
    """From the first token to the last of this row."""


class Engine:
    """A frozen base model that answers prompts with injections.

    Example:
        engine = Engine("smollm2-135m-instruct")
        engine.generate([Request(prompt_ids, injection)])
    """

    def __init__(
        self,
        model: str | BaseModel = "smollm2-135m-instruct",
        *,
        device: str = "cpu",
        dtype: str | torch.dtype | None = None,
        max_batch: int = 16,
    ) -> None:
        """Loads the model.

        Args:
            model: bundled name, folder, GGUF file, hub id, or a loaded base model.
            device: torch device.
            dtype: numbers to compute in; None takes float32 on CPU and bfloat16 on CUDA.
            max_batch: most rows computed at once.

        Raises:
            ModelError: the model cannot be found, read or adapted.
        """
        self.base = model if isinstance(model, BaseModel) else load_base(model, device=device, dtype=dtype)
        self.max_batch = max_batch
        self._stop_ids = frozenset(stop_ids(self.base.tokenizer, self.base.model))

    @property
    def fingerprint(self) -> str:
        """Identifies the base model's weights and tokenizer."""
        return self.base.fingerprint

    def layout(self, recipe: Recipe) -> AdapterLayout:
        """Returns how this model's adapters are laid out under a recipe."""
        return AdapterLayout(
            layers=recipe.layer_indices(self.base.layer_count),
            modules=tuple(shape for shape in self.base.shapes if shape.name in recipe.modules),
            rank=recipe.rank,
            alpha=recipe.alpha,
        )

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Answers all requests, in their order; what a request gets does not depend on the others.

        Prompts of similar length share a batch. `full` and `answer` injections run in batches of their own, since
        only the latter leave the prompt to the base model.
        """
        order = sorted(range(len(requests)), key=lambda index: (_is_full(requests[index]), _width(requests[index])))
        done: dict[int, Completion] = {}
        for full in (False, True):
            indices = [index for index in order if _is_full(requests[index]) == full]
            for start in range(0, len(indices), self.max_batch):
                batch = indices[start : start + self.max_batch]
                rows = _Batch(self, [requests[index] for index in batch])
                for _ in rows.run():
                    pass
                done.update(zip(batch, rows.completions(), strict=True))
        return [done[index] for index in range(len(requests))]

    def stream(self, request: Request) -> Iterator[str]:
        """Yields the answer's text as it grows."""
        for _, piece in _Batch(self, [request]).run():
            if piece:
                yield piece

    @contextmanager
    def inject(self, what: Adapter | Injection | None, scale: float = 1.0) -> Iterator[None]:
        """Adds an adapter or injection at every position of whatever runs inside; takes it out on leaving.

        Raises:
            MismatchError: the adapter was made for another base model.
        """
        if isinstance(what, Adapter):
            if what.key.base != self.fingerprint:
                raise MismatchError(
                    f"adapter of passage {what.key.passage_id} was made for base model {what.key.base}, this is "
                    f"{self.base.name} ({self.fingerprint}): encode the passage for this model"
                )
            what = concat(what.layout, what.row[None], [1.0], "full")
        with injected(self.base, stack([what], self.base, scale)):
            yield

    def logits(self, prompt: str | Sequence[int]) -> torch.Tensor:
        """Returns float32 logits [T, V] at every position of a text or token list."""
        ids = self.base.tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else list(prompt)
        with torch.inference_mode():
            output = self.base.model(input_ids=torch.tensor([ids], device=self.base.device), use_cache=False)
        logits: torch.Tensor = output.logits[0].float()
        return logits


def _is_full(request: Request) -> bool:
    return request.injection is not None and request.injection.activation == "full"


def _width(request: Request) -> int:
    return len(request.prompt_ids)


class _Batch:
    """Requests that are read and answered together; rows leave as they finish."""

    def __init__(self, engine: Engine, requests: Sequence[Request]) -> None:
        self._engine = engine
        self._requests = requests
        self._streams = [TextStream(engine.base.tokenizer, request.stop) for request in requests]
        self._tokens: list[list[int]] = [[] for _ in requests]
        self._reasons: list[Literal["stop", "length"]] = ["length"] * len(requests)
        self._ended_ms = [0.0] * len(requests)
        self._prefill_ms = 0.0
        self._generators = [
            torch.Generator().manual_seed(request.seed) if request.temperature > 0 else None for request in requests
        ]

    @torch.inference_mode()
    def run(self) -> Iterator[tuple[int, str]]:
        """Yields (row, new text) for every generated token."""
        base = self._engine.base
        started = time.perf_counter()
        factors = stack([request.injection for request in self._requests], base)
        full = _is_full(self._requests[0])
        with injected(base, factors if full else None):
            prompts = Prompts(base, [request.prompt_ids[:-1] for request in self._requests], share=not full)
        tokens = torch.tensor([request.prompt_ids[-1] for request in self._requests], device=base.device)
        alive = list(range(len(self._requests)))  # rows of the cache -> requests
        while alive:
            logits_NV = self._step(prompts, tokens, factors)
            chosen = [self._choose(row, logits_NV[at]) for at, row in enumerate(alive)]
            now = (time.perf_counter() - started) * 1000
            self._prefill_ms = self._prefill_ms or now
            pieces = [(row, self._take(row, token, now)) for row, token in zip(alive, chosen, strict=True)]
            going = [at for at, (_, (_, more)) in enumerate(pieces) if more]
            for row, (piece, _) in pieces:
                yield row, piece
            if len(going) < len(alive):
                keep = torch.tensor(going, dtype=torch.long, device=base.device)
                alive = [alive[at] for at in going]
                chosen = [chosen[at] for at in going]
                if alive:
                    prompts.keep(keep)
                    factors = factors.rows(keep) if factors is not None else None
            tokens = torch.tensor(chosen, device=base.device)

    def _step(self, prompts: Prompts, tokens: torch.Tensor, factors: BatchFactors | None) -> torch.Tensor:
        base = self._engine.base
        prompts.mask = torch.nn.functional.pad(prompts.mask, (0, 1), value=1)
        with injected(base, factors):
            output = base.model(
                input_ids=tokens[:, None],
                attention_mask=prompts.mask,
                position_ids=prompts.lengths[:, None],
                past_key_values=prompts.cache,
                use_cache=True,
            )
        prompts.lengths = prompts.lengths + 1
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _choose(self, row: int, logits_V: torch.Tensor) -> int:
        request = self._requests[row]
        return next_token(
            logits_V, temperature=request.temperature, top_p=request.top_p, generator=self._generators[row]
        )

    def _take(self, row: int, token: int, now: float) -> tuple[str, bool]:
        """Adds a token to a row; returns (text to show, whether the row goes on)."""
        self._ended_ms[row] = now
        stream = self._streams[row]
        if token in self._engine._stop_ids:
            self._reasons[row] = "stop"
            return stream.finish(), False
        self._tokens[row].append(token)
        piece = stream.push(token)
        if stream.stopped:
            self._reasons[row] = "stop"
            return piece, False
        if len(self._tokens[row]) >= self._requests[row].max_new_tokens:
            return piece + stream.finish(), False
        return piece, True

    def completions(self) -> list[Completion]:
        """Returns the answers, once `run` is exhausted."""
        return [
            Completion(
                text=stream.text,
                token_ids=tuple(tokens),
                finish_reason=reason,
                prompt_tokens=len(request.prompt_ids),
                prefill_ms=self._prefill_ms,
                decode_ms=ended - self._prefill_ms,
            )
            for request, stream, tokens, reason, ended in zip(
                self._requests, self._streams, self._tokens, self._reasons, self._ended_ms, strict=True
            )
        ]
