"""What the engine is asked and what it answers. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from ..types import Injection

FinishReason = Literal["stop", "length"]


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
    logprobs: int | None = None
    """How many of the likeliest tokens to report beside each generated one; None reports nothing."""
    choices: tuple[tuple[int, ...], ...] = ()
    """The only answers allowed, as token ids without an end token; empty: any."""

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise ConfigError("a request has an empty prompt; expected at least one token")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}; expected at least 1")
        if not self.temperature >= 0 or not 0 < self.top_p <= 1:
            raise ConfigError(
                f"temperature {self.temperature} and top_p {self.top_p}; expected temperature >= 0 and 0 < top_p <= 1"
            )
        if self.logprobs is not None and self.logprobs < 0:
            raise ConfigError(f"logprobs is {self.logprobs}; expected 0 or more tokens")
        if not all(self.choices):
            raise ConfigError(f"one of the {len(self.choices)} choices is empty; expected at least one token in each")

    @property
    def full(self) -> bool:
        """Whether the injection is on while the prompt is read."""
        return self.injection is not None and self.injection.activation == "full"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely a generated token was, before temperature and nucleus."""

    token_id: int
    """The token."""
    logprob: float
    """Natural logarithm of its probability."""
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens (id, logprob), best first."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to one request."""

    text: str
    """Generated text, special tokens and stop strings removed."""
    token_ids: tuple[int, ...]
    """Generated tokens, the end token not included."""
    finish_reason: FinishReason
    """Whether the model (or a stop string) ended it, or the cap."""
    prompt_tokens: int
    """Tokens in the prompt."""
    reused_tokens: int
    """How many of them were not read again: another prompt began alike."""
    queue_ms: float
    """From submission until reading the prompt began."""
    prefill_ms: float
    """From there to the first token."""
    decode_ms: float
    """From the first token to the last."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One per generated token, where asked for."""


@dataclass(frozen=True, slots=True)
class Update:
    """News of a running request: text that can be shown, and at last the completion or the error."""

    text: str = ""
    """New text; empty while a tail may still become a stop string."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the token that brought it, where asked for."""
    completion: Completion | None = None
    """The whole answer; set in the last update of a request that was answered."""
    error: BaseException | None = None
    """Why there will be none; set in the last update of a request that failed."""
