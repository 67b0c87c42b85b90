"""How a server behaves: limits, keys, retrieval. Checked when it is made; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about a server but its model, collection and address."""

    top_k: int = 3
    """Passages to retrieve."""
    text_k: int | None = None
    """How many of them go into the prompt in modes with text; None: all."""
    retriever: str = "bm25"
    """How passages are found."""
    aggregator: str = "concat"
    """How adapters are combined."""
    weighting: str = "evidence"
    """How much each adapter counts."""
    max_new_tokens: int = 64
    """Length of an answer where the request does not say."""
    token_limit: int = 1024
    """Most tokens a request may ask for."""
    queue_limit: int = 64
    """Most requests that wait or run; beyond it a request is answered 429."""
    timeout_s: float = 300.0
    """Most seconds a request may take."""
    body_bytes: int = 1 << 20
    """Largest request body, documents apart."""
    document_bytes: int = 32 << 20
    """Largest body that brings documents."""
    document_jobs: int = 100
    """Most encoding jobs that wait, and most finished ones that are remembered."""
    api_keys: tuple[str, ...] = ()
    """Who has one of these may ask. With neither these nor `admin_keys`, everybody may do everything."""
    admin_keys: tuple[str, ...] = ()
    """Who has one of these may also change documents."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "token_limit", "queue_limit", "timeout_s", "body_bytes", "document_bytes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected more than 0")
        if self.max_new_tokens > self.token_limit:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}, more than token_limit, {self.token_limit}")
        for key in (*self.api_keys, *self.admin_keys):
            if len(key) < 8 or not key.isascii() or any(letter.isspace() for letter in key):
                raise ConfigError(
                    "a key is shorter than 8 letters, or has blanks or letters that a header cannot carry"
                )
