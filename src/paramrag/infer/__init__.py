"""Prompts and injections -> text."""

from .engine import Completion, Engine, Request
from .injection import BatchFactors, injected, stack

__all__ = ["BatchFactors", "Completion", "Engine", "Request", "injected", "stack"]
