"""Weightings: how much each retrieved adapter counts.

`uniform` gives every adapter 1, as published; wrong adapters then drown the right one. `score` lets the retriever say
how sure it is of one hit against another: on 40 invented passages, BM25 top 3, it answers as the right adapter alone
would. But the best hit counts 1 under it however little it has to do with the question. `evidence` also asks that: an
adapter whose passage holds almost nothing of the question stays out. And it bounds the sum, since adapters at full
strength overshoot in wordings they were not trained on. `top` keeps the best hit alone. The measurements are in
docs/log.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import ConfigError, did_you_mean

Coverage = Callable[[], Sequence[float]]
"""How much of the question each passage holds, [k] of 0 to 1 (`Collection.coverage`); called only where needed."""
Weighting = Callable[[Sequence[float], Coverage], list[float]]
"""Retrieval scores [k], best first, and the coverage of the question -> weights [k]."""

EVIDENCE = 0.15, 0.35
"""Coverage below which an adapter stays out, and from which it counts in full. For 600 questions 99.7 % of the gold
passages come out at a half or more, 97.8 % of passages drawn at random at less (docs/log.md)."""

STRENGTH = 0.75
"""What the weights of `evidence` add up to at most. HasAnswer of 252 one-fact questions: 38.1 at 0.75, 35.3 at 1, 31.0
at 0.5, and 32.9 without a bound (docs/log.md)."""


def uniform(scores: Sequence[float], coverage: Coverage | None = None) -> list[float]:
    """Returns 1 for every adapter: the plain sum of eq. 3 in arXiv 2510.12668."""
    return [1.0] * len(scores)


def score(scores: Sequence[float], coverage: Coverage | None = None) -> list[float]:
    """Returns (score_i / best score) squared, 0 for scores below 0; the best hit always counts 1."""
    best = max(scores, default=0.0)
    if best <= 0:  # no lexical evidence for any of them
        return uniform(scores)
    return [(max(0.0, value) / best) ** 2 for value in scores]


def evidence(scores: Sequence[float], coverage: Coverage) -> list[float]:
    """Returns the weights of `score`, each times how surely its passage has to do with the question, and all made
    smaller by one factor: what would add up to 1 or more adds up to `STRENGTH`."""
    if not scores:
        return []
    low, high = EVIDENCE
    sure = [min(1.0, max(0.0, (held - low) / (high - low))) for held in coverage()]
    weights = [weight * share for weight, share in zip(score(scores), sure, strict=True)]
    return [weight * STRENGTH / max(1.0, sum(weights)) for weight in weights]


def top(scores: Sequence[float], coverage: Coverage | None = None) -> list[float]:
    """Returns 1 for the best hit and 0 for the others: routing instead of merging."""
    return [1.0 if position == 0 else 0.0 for position in range(len(scores))]


_WEIGHTINGS: dict[str, Weighting] = {"evidence": evidence, "score": score, "uniform": uniform, "top": top}


def weighting(spec: str) -> Weighting:
    """Returns the weighting of that name.

    Raises:
        ConfigError: no such weighting.
    """
    if spec not in _WEIGHTINGS:
        raise ConfigError(f"unknown weighting {spec!r}: {did_you_mean(spec, _WEIGHTINGS)}")
    return _WEIGHTINGS[spec]
