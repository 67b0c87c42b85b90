"""Passages and items -> adapters."""

from .static import EncodeEstimate, EncodeReport, StaticParameterizer
from .trainer import Failed, train

__all__ = ["EncodeEstimate", "EncodeReport", "Failed", "StaticParameterizer", "train"]
