"""Base models: a name -> frozen weights, tokenizer, fingerprint, feed-forward projections, and the chat prompt."""

from __future__ import annotations

from .base import BaseModel, load_base, wrap_base
from .bundled import BundledModel, bundled_models, pull
from .prompts import DEFAULT_SYSTEM, chat_ids, prompt_ids, stop_ids

__all__ = [
    "DEFAULT_SYSTEM",
    "BaseModel",
    "BundledModel",
    "bundled_models",
    "chat_ids",
    "load_base",
    "prompt_ids",
    "pull",
    "stop_ids",
    "wrap_base",
]
