"""Passages and items -> adapters."""

from .static import GIVEN_ITEMS, EncodeEstimate, EncodeReport, StaticParameterizer
from .task import task_adapter
from .trainer import Failed, train

__all__ = ["GIVEN_ITEMS", "EncodeEstimate", "EncodeReport", "Failed", "StaticParameterizer", "task_adapter", "train"]
