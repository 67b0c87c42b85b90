"""Replaces hits by other passages. What takes a hit's place takes its score too: a retriever that errs does not know.

`replace-first`, `replace-last` and `replace-all` put passages that are noise for the question in the place of the
first, the last or all hits, as in section 7 of arXiv 2510.12668. `shuffled` gives every hit another passage of the
collection: for adapters, the swap test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from ..errors import ConfigError
from ..types import Hit, Query

HitFilter = Callable[[Query, Sequence[Hit]], list[Hit]]
"""(query, hits best first) -> as many hits."""

_PLACES: dict[str, Callable[[int], range]] = {
    "replace-last": lambda count: range(max(0, count - 1), count),
    "replace-first": lambda count: range(min(1, count)),
    "replace-all": lambda count: range(count),
}
HIT_STEPS = (*_PLACES, "shuffled")
"""Names of the steps; the last one is for adapters alone."""


class Substitutes(Protocol):
    """Finds what takes the place of hits."""

    def __call__(self, query: Query, hits: Sequence[Hit]) -> Sequence[Hit]:
        """Returns one passage per hit, none of which is a hit; the same for the same query and hits."""
        ...


def hit_step(step: str, *, noise: Substitutes | None, others: Substitutes | None) -> HitFilter | None:
    """Returns the filter of a step, or None if the step is none that replaces hits.

    Raises:
        ConfigError: the passages that it needs are not given.
    """
    if step in _PLACES:
        return _replacing(step, _PLACES[step], noise)
    if step == "shuffled" and others is not None:
        return _replacing(step, _PLACES["replace-all"], others)
    return None


def chain_hits(filters: Sequence[HitFilter]) -> HitFilter | None:
    """Returns the filters as one, applied in order; None for none."""
    if not filters:
        return None

    def apply(query: Query, hits: Sequence[Hit]) -> list[Hit]:
        for each in filters:
            hits = each(query, hits)
        return list(hits)

    return apply


def _replacing(step: str, places: Callable[[int], range], substitutes: Substitutes | None) -> HitFilter:
    if substitutes is None:
        raise ConfigError(f"condition {step!r} needs passages to put in; give the questions that they come from")

    def apply(query: Query, hits: Sequence[Hit]) -> list[Hit]:
        changed = list(hits)
        if changed:
            found = substitutes(query, hits)
            for rank in places(len(hits)):
                changed[rank] = replace(found[rank], score=hits[rank].score)
        return changed

    return apply
