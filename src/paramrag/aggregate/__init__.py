"""Adapters and weights -> injection."""

from .rules import Aggregator, aggregator, concat, mean
from .weights import Weighting, weighting

__all__ = ["Aggregator", "Weighting", "aggregator", "concat", "mean", "weighting"]
