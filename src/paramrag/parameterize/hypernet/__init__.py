"""Hypernetworks: passage -> adapter in one pass, and how they are trained."""

from .checkpoint import SHIPPED, Predictor, load_hypernet
from .reading import Readings, read
from .training import HyperTraining, TrainReport, read_curves

__all__ = ["SHIPPED", "HyperTraining", "Predictor", "Readings", "TrainReport", "load_hypernet", "read", "read_curves"]
