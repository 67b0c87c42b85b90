"""Adapters and weights -> injection."""

from .orthogonal import orthogonal
from .rules import Aggregator, concat, mean
from .sparse import dare, dare_ties, ties
from .spec import aggregator
from .truncated import svd
from .weights import Weighting, weighting

__all__ = [
    "Aggregator",
    "Weighting",
    "aggregator",
    "concat",
    "dare",
    "dare_ties",
    "mean",
    "orthogonal",
    "svd",
    "ties",
    "weighting",
]
