"""The ways to answer a question: which retrieved passages go into the text, which into the weights, together or apart.

Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from .config import Parameterizer, Recipe


@dataclass(frozen=True, slots=True)
class Mode:
    """Where retrieved passages go."""

    name: str
    """What users call it."""
    text: bool
    """Whether passages are in the prompt."""
    weights: bool
    """Whether their adapters are injected."""
    apart: bool = False
    """Whether every source answers by itself, and the surest answer is given: late fusion (`Pipeline._apart`)."""
    parameterizer: Parameterizer = "static"
    """Who made these adapters: training, or a hypernetwork."""
    strength: float = 1.0
    """What adapters' weights are multiplied with."""

    @property
    def task(self) -> bool:
        """Whether it needs the task adapter under any recipe: passages that are read apart are also read with it."""
        return self.apart and self.text


BESIDE_TEXT = 0.35
"""Strength of predicted adapters in one prompt with text: they have learnt to speak without any, and at their full
strength they talk over it (docs/log.md)."""

MODES = {
    mode.name: mode
    for mode in (
        Mode("vanilla", text=False, weights=False),
        Mode("t-rag", text=True, weights=False),
        Mode("t-rag-late", text=True, weights=False, apart=True),
        Mode("p-rag", text=False, weights=True),
        Mode("p-rag-late", text=False, weights=True, apart=True),
        Mode("pt-rag", text=True, weights=True),
        Mode("pt-rag-late", text=True, weights=True, apart=True),
        Mode("dyp-rag", text=False, weights=True, parameterizer="dynamic"),
        Mode("dyp-rag-late", text=False, weights=True, parameterizer="dynamic", apart=True),
        Mode("dypt-rag", text=True, weights=True, parameterizer="dynamic", strength=BESIDE_TEXT),
        Mode("dypt-rag-late", text=True, weights=True, parameterizer="dynamic", apart=True),
    )
}


def modes_with(*parameterizers: Parameterizer, apart: bool = True) -> tuple[str, ...]:
    """Returns the names of the modes for which adapters of these kinds are enough; `apart`: also the late
    ones."""
    fitting = (mode for mode in MODES.values() if mode.parameterizer in parameterizers)
    return tuple(mode.name for mode in fitting if apart or not mode.apart)


def weights_alone(recipe: Recipe) -> str:
    """Returns the name of the mode that answers from a recipe's adapters, without text."""
    fitting = (mode for mode in MODES.values() if mode.weights and not (mode.text or mode.apart))
    return next(mode.name for mode in fitting if mode.parameterizer == recipe.parameterizer)
