"""Passages -> training items: by rules, a local model, an endpoint or from a file; validated against the passage."""

from .augmenter import Augmenter, augmenter
from .report import AugmentReport, FailedPassage
from .rules import Rules
from .validation import Rejected, validate

__all__ = ["AugmentReport", "Augmenter", "FailedPassage", "Rejected", "Rules", "augmenter", "validate"]
