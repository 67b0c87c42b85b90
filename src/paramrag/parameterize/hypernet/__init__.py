"""Hypernetworks: passage -> adapter in one pass, and how they are trained."""

from .checkpoint import Predictor, load_hypernet
from .reading import Readings, read
from .training import HyperTraining, TrainReport, read_curves

__all__ = ["HyperTraining", "Predictor", "Readings", "TrainReport", "load_hypernet", "read", "read_curves"]
