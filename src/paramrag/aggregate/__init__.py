"""Adapters and weights -> injection."""

from .parts import restrict, scaled
from .rules import Aggregator, aggregator, concat, mean
from .weights import Weighting, weighting

__all__ = ["Aggregator", "Weighting", "aggregator", "concat", "mean", "restrict", "scaled", "weighting"]
