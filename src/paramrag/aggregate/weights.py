"""Weightings: how much each retrieved adapter counts.

`uniform` gives every adapter 1, as published; wrong adapters then drown the right one. `score` lets the retriever say
how sure it is: on 40 invented passages, BM25 top 3, it answers as the right adapter alone would (docs/log.md).
`top` keeps the best hit alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import ConfigError, did_you_mean

Weighting = Callable[[Sequence[float]], list[float]]
"""Retrieval scores [k], best first -> weights [k]."""


def uniform(scores: Sequence[float]) -> list[float]:
    """Returns 1 for every adapter: the plain sum of eq. 3 in arXiv 2510.12668."""
    return [1.0] * len(scores)


def score(scores: Sequence[float]) -> list[float]:
    """Returns (score_i / best score) squared, 0 for scores below 0; the best hit always counts 1."""
    best = max(scores, default=0.0)
    if best <= 0:  # no lexical evidence for any of them
        return uniform(scores)
    return [(max(0.0, value) / best) ** 2 for value in scores]


def top(scores: Sequence[float]) -> list[float]:
    """Returns 1 for the best hit and 0 for the others: routing instead of merging."""
    return [1.0 if position == 0 else 0.0 for position in range(len(scores))]


_WEIGHTINGS: dict[str, Weighting] = {"uniform": uniform, "score": score, "top": top}


def weighting(spec: str) -> Weighting:
    """Returns the weighting of that name.

    Raises:
        ConfigError: no such weighting.
    """
    if spec not in _WEIGHTINGS:
        raise ConfigError(f"unknown weighting {spec!r}: {did_you_mean(spec, _WEIGHTINGS)}")
    return _WEIGHTINGS[spec]
