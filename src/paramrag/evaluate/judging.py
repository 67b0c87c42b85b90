"""A judge from a spec: a model behind an OpenAI-compatible endpoint, or one on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..augment.endpoint import Endpoint
from ..errors import ConfigError
from .metrics.judge import Judge

if TYPE_CHECKING:
    from ..infer import Engine

_WORDS = 8  # tokens a local judge may say: a yes or no, and what small models put before it


def judge(
    spec: str, *, base_url: str | None = None, cache: Path | None = None, device: str = "cpu", dtype: str | None = None
) -> Judge:
    """Returns the judge that a spec names: `openai:MODEL` or `local:MODEL`.

    Args:
        spec: `openai:MODEL` asks an endpoint; `local:MODEL` a bundled name, folder, GGUF file or hub id.
        base_url: of the endpoint, up to and including /v1; None for OpenAI's.
        cache: file of verdicts.
        device: of a local model.
        dtype: of a local model.

    Raises:
        ConfigError: the spec names no judge, or the endpoint cannot be used.
        ModelError: the local model cannot be loaded.
    """
    kind, _, model = spec.partition(":")
    if kind == "openai" and model:
        endpoint = Endpoint(base_url)

        def ask(prompt: str) -> str:
            return endpoint.chat(model, [{"role": "user", "content": prompt}], temperature=0.0).text

        return Judge(spec, ask, cache)
    if kind == "local" and model:
        from ..infer import Engine

        return local_judge(Engine(model, device=device, dtype=dtype), cache)
    raise ConfigError(f"judge {spec!r}: expected openai:MODEL or local:MODEL")


def local_judge(engine: Engine, cache: Path | None = None) -> Judge:
    """Returns a judge that asks a loaded engine, greedily; it goes by the fingerprint of its weights."""
    from ..infer import Request
    from ..models.prompts import chat_ids

    def ask(prompt: str) -> str:
        ids = chat_ids(engine.base.tokenizer, [{"role": "user", "content": prompt}])
        return engine.generate([Request(ids, max_new_tokens=_WORDS)])[0].text

    return Judge(f"local:{engine.base.name}@{engine.fingerprint}", ask, cache)
