"""One answer: what each adapter and each passage did to each of its tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..explain import Explanation
from .style import panels, styled


@styled
def explanation_figure(explanation: Explanation) -> Any:
    """Returns a map of effects, sources down and tokens across: violet raises a probability, brown lowers it."""
    effects = explanation.effects
    values = np.array([effect.log_probs for effect in effects]).reshape(len(effects), len(explanation.tokens))
    figure, (axes,) = panels(
        1,
        title=f"{explanation.mode}: {explanation.question}",
        width=max(7.0, 3.5 + 0.9 * len(explanation.tokens)),
        height=2.2 + 0.5 * len(effects),
    )
    limit = float(np.abs(values).max(initial=0.0)) or 1.0
    picture = axes.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
    axes.grid(visible=False)
    axes.set_yticks(range(len(effects)), [_name(explanation, at) for at in range(len(effects))])
    axes.set_xticks(range(len(explanation.tokens)), [repr(token)[1:-1] for token in explanation.tokens])
    axes.set_xlabel("answer, token by token")
    for row, column in np.ndindex(*values.shape):
        strong = abs(values[row, column]) > 0.6 * limit
        axes.text(
            column, row, f"{values[row, column]:+.1f}", ha="center", va="center", color="white" if strong else "black"
        )
    figure.colorbar(picture, ax=axes, label="change of log-probability (nats)")
    return figure


def _name(explanation: Explanation, at: int) -> str:
    effect = explanation.effects[at]
    if effect.source is None:
        return f"all {effect.kind}s"
    return f"{effect.kind} {effect.source + 1}: {explanation.used[effect.source].hit.passage.title[:24]}"
