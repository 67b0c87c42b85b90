"""What augmenting cost and yielded, added up over the calls of one augmenter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class FailedPassage(NamedTuple):
    """A passage for which no items could be made, and why; the others went on."""

    passage_id: str
    reason: str


@dataclass(slots=True)
class AugmentReport:
    """Counts of one augmenter; it grows with every call."""

    passages: int = 0
    """Passages handed in."""
    asked: int = 0
    """Items asked for."""
    parsed: int = 0
    """Items proposed, before validation."""
    kept: Counter[str] = field(default_factory=Counter)
    """Kind -> items handed out."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> items left out because they did not validate."""
    topped_up: int = 0
    """Of those kept: made by rules because the model or endpoint gave too few."""
    failed: list[FailedPassage] = field(default_factory=list)
    """Passages whose model or endpoint failed; they have the items of the rules, or none."""
    seconds: float = 0.0
    """Wall time."""
    prompt_tokens: int = 0
    """Tokens read by the model or endpoint."""
    completion_tokens: int = 0
    """Tokens written by it."""
    cost: float | None = None
    """In the currency of the prices; None if none were given."""

    @property
    def per_passage(self) -> float:
        """Mean number of items handed out per passage."""
        return sum(self.kept.values()) / self.passages if self.passages else 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns everything as a JSON object."""
        return {
            "passages": self.passages,
            "asked": self.asked,
            "parsed": self.parsed,
            "kept": dict(sorted(self.kept.items())),
            "rejected": dict(self.rejected.most_common()),
            "topped_up": self.topped_up,
            "failed": [entry._asdict() for entry in self.failed],
            "per_passage": round(self.per_passage, 2),
            "seconds": round(self.seconds, 3),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": None if self.cost is None else round(self.cost, 6),
        }
