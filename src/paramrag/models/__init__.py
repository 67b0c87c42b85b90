"""Base models: a name -> frozen weights, tokenizer, fingerprint, feed-forward projections, and the chat prompt.

Names are imported when first used: listing the bundled models does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import BaseModel, gguf_architecture, load_base, wrap_base
    from .bundled import BundledModel, bundled_models, pull
    from .prompts import DEFAULT_SYSTEM, answer_ids, chat_ids, passage_spans, prompt_ids, stop_ids

__all__ = [
    "DEFAULT_SYSTEM",
    "BaseModel",
    "BundledModel",
    "answer_ids",
    "bundled_models",
    "chat_ids",
    "gguf_architecture",
    "load_base",
    "passage_spans",
    "prompt_ids",
    "pull",
    "stop_ids",
    "wrap_base",
]

_PLACES = {
    **dict.fromkeys(("BaseModel", "gguf_architecture", "load_base", "wrap_base"), "base"),
    **dict.fromkeys(("BundledModel", "bundled_models", "pull"), "bundled"),
    **dict.fromkeys(("DEFAULT_SYSTEM", "answer_ids", "chat_ids", "passage_spans", "prompt_ids", "stop_ids"), "prompts"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
