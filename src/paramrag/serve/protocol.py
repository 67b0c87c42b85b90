"""The bodies of requests, validated where they enter: OpenAI's fields, and a few of ours.

Fields of OpenAI's that would change the answer in a way that is not offered are refused, those that would not are taken
and ignored; unknown fields are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_REFUSED: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
}
"""Field -> values that change nothing."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Scale(_Body):
    """How much one adapter counts."""

    id: str = Field(max_length=200, description="adapter_id of a reference, or a passage's id")
    scale: float = Field(ge=-10, le=10, allow_inf_nan=False, description="its weight; 0 leaves it out")


class StreamOptions(_Body):
    """What a stream carries beside text."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class _Generation(_Body):
    model: str = Field(max_length=500, description="an id of /v1/models")
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    n: int | None = Field(default=None, description="1")
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    references: bool = Field(default=False, description="also return the passages, scores, adapters and weights")
    lora: list[Scale] | None = Field(
        default=None, max_length=32, description="adapters to inject instead of those of the passages found"
    )
    frequency_penalty: Any = None
    presence_penalty: Any = None
    logit_bias: Any = None

    @model_validator(mode="after")
    def _offered(self) -> _Generation:
        for name, harmless in _REFUSED.items():
            value = getattr(self, name, None)
            if value is not None and value not in harmless:
                raise ValueError(f"{name} is not offered; leave it out")
        if self.n not in (None, 1):
            raise ValueError(f"n is {self.n}; only one answer per request is offered")
        if len(self.stops) > 16 or any(not text or len(text) > 200 for text in self.stops):
            raise ValueError("stop holds too much; expected up to 16 strings of 1 to 200 letters")
        if self.lora and len({entry.id for entry in self.lora}) < len(self.lora):
            raise ValueError("lora names an adapter twice")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class TextPart(_Body):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class Message(_Body):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None
    # what an earlier answer of ours or another server's says with its text; clients send it back as it was
    refusal: None = None
    annotations: list[Any] | None = Field(default=None, max_length=0)
    audio: None = None
    function_call: None = None
    tool_calls: list[Any] | None = Field(default=None, max_length=0)

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(_Generation):
    """The body of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=1000)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    rewrite: bool = Field(
        default=False, description="let the model rewrite the last question, so that it can be searched alone"
    )
    guided_choice: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=64, description="the only answers allowed, as vLLM calls them"
    )
    tools: Any = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    functions: Any = None
    response_format: Any = None

    @model_validator(mode="after")
    def _conversation(self) -> ChatRequest:
        if self.messages[-1].role != "user" or not self.messages[-1].text.strip():
            raise ValueError("the last message is not a question of the user")
        if any(message.role in ("system", "developer") for message in self.messages[1:]):
            raise ValueError("a system message comes first or not at all")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self

    @property
    def top(self) -> int | None:
        """How many likeliest tokens to report; None reports nothing."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def length(self) -> int | None:
        """Tokens asked for."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(_Generation):
    """The body of /v1/completions."""

    prompt: str | list[str]
    max_tokens: int | None = Field(default=None, ge=1)
    logprobs: int | None = Field(default=None, ge=0, le=20)
    best_of: Any = None
    echo: Any = None
    suffix: Any = None

    @model_validator(mode="after")
    def _one(self) -> CompletionRequest:
        if isinstance(self.prompt, list) and len(self.prompt) != 1:
            raise ValueError(f"{len(self.prompt)} prompts; only one per request is offered")
        if not self.text.strip():
            raise ValueError("the prompt is empty")
        return self

    @property
    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    @property
    def top(self) -> int | None:
        """How many likeliest tokens to report; None reports nothing."""
        return self.logprobs

    @property
    def length(self) -> int | None:
        """Tokens asked for."""
        return self.max_tokens


class RetrieveRequest(_Body):
    """The body of /v1/retrieve."""

    query: str = Field(min_length=1)
    top_k: int = Field(default=3, ge=1, le=100)


class ExplainRequest(_Body):
    """The body of /v1/explain."""

    model: str = Field(min_length=1)
    question: str = Field(min_length=1)
    max_tokens: int = Field(default=32, ge=1)
    lora: list[Scale] | None = Field(default=None, description="weights of adapters, instead of the usual ones")


class NewDocument(_Body):
    """A document to add: its text, or a file."""

    id: str = Field(min_length=1, max_length=500, description="names it; one with the same name is replaced")
    title: str = Field(default="", max_length=500)
    text: str | None = Field(default=None, description="what it says")
    file_base64: str | None = Field(default=None, description="a file instead: its kind is that of the id's ending")

    @model_validator(mode="after")
    def _either(self) -> NewDocument:
        if (self.text is None) == (self.file_base64 is None):
            raise ValueError("expected either text or file_base64")
        return self


class AddRequest(_Body):
    """The body of POST /v1/documents."""

    documents: list[NewDocument] = Field(min_length=1, max_length=1000)
    encode: bool = Field(default=True, description="also make adapters, in the background")


def fields_beside(where: Sequence[str]) -> list[str]:
    """Returns the fields that are known where an unknown one was found; none if that is not clear."""
    name = where[-1]
    for model, inside in ((Scale, "lora"), (Message, "messages"), (NewDocument, "documents")):
        if len(where) > 1 and where[0] == inside:
            return [field for field in model.model_fields if field != name]
    if len(where) > 1:
        return []
    return sorted({*ChatRequest.model_fields, *CompletionRequest.model_fields, *AddRequest.model_fields})
