"""One chat request to an OpenAI-compatible server, with patience. Knows nothing of passages and items.

Format: https://platform.openai.com/docs/api-reference/chat/create; vLLM, SGLang, llama.cpp and Ollama speak it too.
"""

from __future__ import annotations

import email.utils
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from ..errors import AugmentError, ConfigError

DEFAULT_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"

_AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))  # worth another try
_HOPELESS = frozenset((401, 403, 404, 405))  # the same for every request
_LONGEST_WAIT_S = 60.0


class EndpointRefusedError(AugmentError):
    """The server refuses every request of this kind: wrong key, address or model."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class Endpoint:
    """A server's chat API; safe to use from several threads."""

    def __init__(
        self, base_url: str | None = None, *, timeout_s: float = 120.0, attempts: int = 5, backoff_s: float = 1.0
    ) -> None:
        """Prepares a client.

        Args:
            base_url: up to and including `/v1`; None for OpenAI's.
            timeout_s: of one try.
            attempts: tries per request, the first included.
            backoff_s: wait before the second try; doubles with each, unless the server says how long to wait.

        Raises:
            ConfigError: the address is none, or no key is set for OpenAI's own server.
        """
        self.url = (base_url or DEFAULT_URL).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"base URL {base_url!r}; expected http://... or https://..., up to and including /v1")
        self._key = os.environ.get(KEY_VARIABLE, "")
        if not self._key and self.url == DEFAULT_URL:
            raise ConfigError(f"{KEY_VARIABLE} is not set; set it, or give the base URL of a server that needs no key")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout_s)
        self._attempts, self._backoff_s = attempts, backoff_s

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def chat(self, model: str, messages: Sequence[dict[str, str]], *, temperature: float | None = None) -> Reply:
        """Returns the server's reply; waits and tries again on 429, 5xx, broken connections and unreadable answers.

        Args:
            model: as the server calls it.
            messages: {"role", "content"}, in order.
            temperature: 0 for the likeliest answer; None for the server's own.

        Raises:
            EndpointRefusedError: wrong key, address or model: no other request would fare better.
            AugmentError: this request failed for good.
        """
        body: dict[str, Any] = {"model": model, "messages": list(messages)}
        if temperature is not None:
            body["temperature"] = temperature
        trouble, wait_s = "", 0.0
        for attempt in range(self._attempts):
            time.sleep(wait_s)
            wait_s = self._backoff_s * 2**attempt * random.uniform(0.8, 1.2)
            try:
                response = self._client.post(f"{self.url}/chat/completions", json=body)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
                continue
            if response.status_code in _AGAIN:
                trouble = self._said(response)
                named_s = _retry_after_s(response)
                wait_s = wait_s if named_s is None else named_s
                continue
            if response.status_code in _HOPELESS:
                raise EndpointRefusedError(
                    f"{self.url} refuses model {model!r}: {self._said(response)}; "
                    f"check {KEY_VARIABLE}, the base URL (it ends in /v1 mostly) and the model's name"
                )
            if response.status_code != 200:
                raise AugmentError(f"{self.url} refused the request: {self._said(response)}")
            reply = _reply(response)
            if reply:
                return reply
            trouble = f"an answer without text: {response.text[:200]!r}"
        raise AugmentError(f"{self.url} gave no answer in {self._attempts} tries, the last time {trouble}")

    def _said(self, response: httpx.Response) -> str:
        """Returns status and text of an error, without the key, which some servers repeat."""
        text = " ".join(response.text.split())[:300]
        return f"HTTP {response.status_code} {text.replace(self._key, '***') if self._key else text}"


def _reply(response: httpx.Response) -> Reply | None:
    try:
        data: Any = response.json()
        text = data["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    usage = data.get("usage") or {}
    if not isinstance(text, str) or not text.strip():
        return None
    return Reply(text, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))


def _retry_after_s(response: httpx.Response) -> float | None:
    """Reads Retry-After: seconds or a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        wait_s = float(value)
    except ValueError:
        try:
            wait_s = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)
