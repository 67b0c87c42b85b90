"""A collection behind the OpenAI API: chat, completions, retrieval, documents, metrics and a playground page.

Needs the extra `serve`. Names are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .server import serve
    from .settings import Settings

__all__ = ["Settings", "create_app", "serve"]

_PLACES = {"create_app": "app", "serve": "server", "Settings": "settings"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
