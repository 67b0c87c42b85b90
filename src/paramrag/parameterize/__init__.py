"""Passages and items -> adapters."""

from .dynamic import DynamicParameterizer
from .hypernet import HyperTraining, load_hypernet
from .static import GIVEN_ITEMS, EncodeEstimate, EncodeReport, StaticParameterizer
from .task import task_adapter, task_ready
from .trainer import Failed, train

__all__ = [
    "GIVEN_ITEMS",
    "DynamicParameterizer",
    "EncodeEstimate",
    "EncodeReport",
    "Failed",
    "HyperTraining",
    "StaticParameterizer",
    "load_hypernet",
    "task_adapter",
    "task_ready",
    "train",
]
