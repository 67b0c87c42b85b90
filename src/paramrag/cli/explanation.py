"""What moved an answer, in the terminal: a table of sources, and a bar for every source and token."""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

from .console import console, table

if TYPE_CHECKING:
    from ..analyze.explain import Effect, Explanation

WIDTH = 6
"""Characters of the longest bar."""


def show_explanation(found: Explanation) -> None:
    """Prints sources with their effect on the whole answer, then the tokens with bars."""
    screen = console()
    screen.print()
    if not found.effects:
        nothing = "the model said nothing" if not found.tokens else "nothing was retrieved for it"
        screen.print(f"nothing to explain: {nothing}", style="yellow")
        return
    names = {id(effect): _short(effect) for effect in found.effects}
    sources = table("", "left out", "of", "effect", right=("effect",), wide=("of",))
    for effect in found.effects:
        title = ""
        if effect.source is not None:
            hit = found.used[effect.source].hit
            title = hit.passage.title or hit.document_id
        what = f"all {effect.kind}s" if effect.source is None else effect.kind
        sources.add_row(names[id(effect)], what, title, f"{effect.total:+.2f}")
    screen.print(sources)
    screen.print()
    limit = max(abs(float(value)) for effect in found.effects for value in effect.log_probs) or 1.0
    shown = table("token", "p %", *names.values(), right=("p %",))
    for at, token in enumerate(found.tokens):
        bars = (bar(float(effect.log_probs[at]), limit) for effect in found.effects)
        shown.add_row(repr(token)[1:-1], f"{100 * exp(found.log_probs[at]):.0f}", *bars)
    screen.print(shown)
    screen.print(
        "effect: log-probability of the answer with the source less without it, nats; "
        f"a full bar is {limit:.2f} on one token, + raised its probability, - lowered it",
        style="dim",
    )


def bar(value: float, limit: float) -> str:
    """Returns a signed bar, whose length is the share of `limit`; nothing for what rounds to nothing."""
    length = round(WIDTH * abs(value) / limit)
    return ("+" if value > 0 else "-") + "\N{FULL BLOCK}" * length if length else ""


def _short(effect: Effect) -> str:
    """A for adapters and T for text, with the rank of the hit."""
    letter = {"adapter": "A", "text": "T"}[effect.kind]
    return f"{letter}*" if effect.source is None else f"{letter}{effect.source + 1}"
