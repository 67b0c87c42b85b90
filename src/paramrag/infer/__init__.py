"""Prompts and injections -> text."""

from .engine import Engine
from .injection import BatchFactors, injected, stack
from .race import Race
from .request import Completion, Request, TokenLogprob, Update
from .rows import Ticket
from .scheduler import Scheduler, SchedulerStats
from .surest import surest

__all__ = [
    "BatchFactors",
    "Completion",
    "Engine",
    "Race",
    "Request",
    "Scheduler",
    "SchedulerStats",
    "Ticket",
    "TokenLogprob",
    "Update",
    "injected",
    "stack",
    "surest",
]
