"""ParamRAG: parametric retrieval-augmented generation.

Every document becomes a small LoRA adapter on the feed-forward layers of a frozen language model; the adapters of the
retrieved passages are combined and injected while the model answers, alone or together with the text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import load_recipe as load_recipe
    from .infer import Engine as Engine
    from .infer import Request as Request
    from .modes import MODES as MODES
    from .parameterize import StaticParameterizer as StaticParameterizer
    from .pipeline import Pipeline as Pipeline
    from .store import Collection as Collection
    from .types import Passage as Passage
    from .types import TrainingItem as TrainingItem

__version__ = "0.1.0"

# Looked up on first use, so that `import paramrag` loads no heavy library.
_HOMES = {
    "Collection": "store",
    "Engine": "infer",
    "MODES": "modes",
    "Pipeline": "pipeline",
    "Request": "infer",
    "StaticParameterizer": "parameterize",
    "load_recipe": "config",
    "Passage": "types",
    "TrainingItem": "types",
}

__all__ = [
    "MODES",
    "Collection",
    "Engine",
    "Passage",
    "Pipeline",
    "Request",
    "StaticParameterizer",
    "TrainingItem",
    "load_recipe",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
