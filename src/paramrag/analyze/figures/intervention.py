"""What happens when only part of an injection is let in, or more or less of it."""

from __future__ import annotations

from typing import Any

from ...evaluate.statistics import Estimate
from ..layers import LayerStudy
from ..override import OverrideStudy
from .style import BLUE, GREEN, GREY, RED, Look, band, look, panels, styled, zero_line


@styled
def layers_figure(study: LayerStudy) -> Any:
    """Returns HasAnswer, the gain in the gold answer's log-probability, and PKS, one row per part of the injection."""
    names = list(study.parts)
    title = f"which part of the injection carries the effect (n = {study.n}, bars: 95 % interval)"
    figure, axes = panels(3, title=title, height=1.8 + 0.42 * len(names))
    effects = study.parts.values()
    gain = f"log-probability of the gold answer,\nless that with {names[0]} (nats per token)"
    rows: list[tuple[str, float, list[Estimate]]] = [
        ("HasAnswer (%)", 100, [effect.has_answer for effect in effects]),
        (gain, 1, [effect.gain for effect in effects]),
        ("PKS on the gold answer,\nmean over layers (nats)", 1, [effect.pks.mean() for effect in effects]),
    ]
    for each, (label, unit, estimates) in zip(axes, rows, strict=True):
        for position, estimate in enumerate(estimates):
            color = GREY if position == 0 else GREEN if position == 1 else BLUE
            errors = [[unit * (estimate.mean - estimate.low)], [unit * (estimate.high - estimate.mean)]]
            each.errorbar(
                unit * estimate.mean, position, xerr=errors, fmt="o", color=color, capsize=5, markersize=8, linewidth=2
            )
        each.set_yticks(range(len(names)), names if each is axes[0] else [""] * len(names))
        each.set_ylim(len(names) - 0.5, -0.5)
        each.set_xlabel(label)
        each.locator_params(axis="x", nbins=5)
    axes[0].set_xlim(-3, 103)
    axes[1].axvline(0, color="black", linewidth=1)
    return figure


@styled
def override_figure(study: OverrideStudy) -> Any:
    """Returns both answers' log-probability by scale, one panel per mode, and how often the first is preferred."""
    title = f"the passages' answer against the one they contradict (n = {study.n}, band: 95 % interval)"
    figure, axes = panels(len(study.modes) + 1, title=title)
    last = axes[-1]
    for position, (each, (mode, found)) in enumerate(zip(axes, study.modes.items(), strict=False)):
        band(each, study.scales, found.estimates("counterfactual"), "counterfactual", Look(GREEN, "-", "o"))
        band(each, study.scales, found.estimates("original"), "original", Look(RED, "--", "s"))
        each.set_title(mode)
        each.set_ylabel("log-probability (nats per token)")
        each.legend()
        shares = [
            Estimate(100 * share.mean, 100 * share.low, 100 * share.high, share.n)
            for share in found.estimates("preferred")
        ]
        band(last, study.scales, shares, mode, look(mode, position))
    low, high = min(each.get_ylim()[0] for each in axes[:-1]), max(each.get_ylim()[1] for each in axes[:-1])
    for each in axes[:-1]:
        each.set_ylim(low, high)
    last.set_title("who is preferred")
    last.set_ylabel("counterfactual likelier (%)")
    last.set_ylim(-3, 103)
    last.legend()
    for each in axes:
        each.set_xlabel("scale of the injection")
        each.axvline(1, color="black", linewidth=1, linestyle=":")
    zero_line(last)
    return figure
