"""Noise and damage between retrieval and the model, for the text and for the adapters independently.

A pipeline takes `Conditions`; without any it is left as it is. A condition is written as a spec that prints and
parses back, its steps joined by `+` and applied in order: `replace-last`, `shuffled+scaled(0.5)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .hits import HIT_STEPS, HitFilter, Substitutes, chain_hits, hit_step
from .rows import ROW_STEPS, RowFilter, chain_rows, row_step

if TYPE_CHECKING:
    from ..store import Collection


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is changed on the way from the hits to the model."""

    text: HitFilter | None = None
    """Changes which passages are put into the prompt."""
    adapters: HitFilter | None = None
    """Changes which passages' adapters are injected."""
    rows: RowFilter | None = None
    """Changes the numbers of the adapters."""
    source: Collection | None = None
    """Where adapters are read; None: the pipeline's own collection. A control has its adapters apart."""


def conditions(
    text: str | None = None,
    adapters: str | None = None,
    *,
    noise: Substitutes | None = None,
    others: Substitutes | None = None,
    source: Collection | None = None,
    seed: int = 0,
) -> Conditions:
    """Returns the conditions that two specs name.

    Args:
        text: steps for the passages in the prompt: `replace-last`, `replace-first`, `replace-all`.
        adapters: steps for the adapters: those of the text, and `shuffled`, `random`, `scaled(X)`, `quantised(BITS)`.
        noise: passages for the `replace-` steps.
        others: passages for `shuffled`.
        source: collection whose adapters are used instead of the pipeline's own.
        seed: of what is random in a step.

    Raises:
        ConfigError: an unknown step or argument, a step that works on numbers for the text, or one whose
            passages are not given.
    """
    text_hits = []
    for step in split(text):
        found = hit_step(step, noise=noise, others=None)
        if found is None:
            raise ConfigError(f"text condition {step!r}: expected one of {', '.join(HIT_STEPS[:-1])}")
        text_hits.append(found)
    adapter_hits: list[HitFilter] = []
    rows: list[RowFilter] = []
    for step in split(adapters):
        hits = hit_step(step, noise=noise, others=others)
        if hits is not None and rows:
            raise ConfigError(f"adapter condition {adapters!r}: choose passages ({step}) before changing numbers")
        if hits is not None:
            adapter_hits.append(hits)
        else:
            rows.append(row_step(step, known=(*HIT_STEPS, *ROW_STEPS), seed=seed))
    return Conditions(chain_hits(text_hits), chain_hits(adapter_hits), chain_rows(rows), source)


def split(spec: str | None) -> list[str]:
    """Returns the steps of a spec; none for None, an empty one, or `none`."""
    if spec is None or spec.strip() in ("", "none"):
        return []
    return [step.strip() for step in spec.split("+")]


__all__ = ["HIT_STEPS", "ROW_STEPS", "Conditions", "HitFilter", "RowFilter", "Substitutes", "conditions", "split"]
