"""A claim of the literature, and what was measured of it here -> whether it holds, by the interval and nothing else.

Every claim is put as a difference that is above zero if the claim is right, so that the interval alone decides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from .statistics import Estimate

MIN_N = 6
"""Fewer values than this tell nothing: were all on one side, that would still be chance at 5 % (sign test)."""

Verdict = Literal["holds here", "does not hold here", "cannot be told"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim with what was found of it."""

    claim: str
    """What is claimed, in one sentence without its full stop."""
    measured: str
    """The difference that is above zero if the claim is right."""
    difference: Estimate
    """That difference, with its 95 % interval; `n` counts what it is over."""
    unit: str = ""
    """Of the difference; `points` are shares times 100."""
    over: str = "questions"
    """What `n` counts."""

    @property
    def verdict(self) -> Verdict:
        """Holds where the whole interval is above zero, does not where it is below, else it cannot be told."""
        if self.difference.n < MIN_N:
            return "cannot be told"
        if self.difference.low > 0:
            return "holds here"
        return "does not hold here" if self.difference.high < 0 else "cannot be told"

    @property
    def sentence(self) -> str:
        """The finding in words, with its interval and n; the verdict in bold, as Markdown."""
        claim, verdict, numbers = self.parts
        at = f" at n = {self.difference.n}" if verdict == "cannot be told" else ""
        return f"{claim}: **{verdict}**{at}. {numbers}."

    @property
    def parts(self) -> tuple[str, Verdict, str]:
        """Claim, verdict, and what was measured with its interval and n."""
        factor, digits = (100, 1) if self.unit == "points" else (1, 4 if abs(self.difference.mean) < 0.1 else 2)
        mean, low, high = (
            f"{factor * value:+.{digits}f}"
            for value in (self.difference.mean, self.difference.low, self.difference.high)
        )
        unit = f" {self.unit}" if self.unit else ""
        numbers = f"{self.measured}: {mean} [{low}, {high}]{unit}, n = {self.difference.n} {self.over}"
        return self.claim, self.verdict, numbers

    def to_json(self) -> dict[str, Any]:
        """Returns the fields, the verdict and the sentence."""
        return {**asdict(self), "sentence": self.sentence, "parts": list(self.parts)}
