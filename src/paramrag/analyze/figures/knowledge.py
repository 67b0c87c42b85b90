"""Parametric knowledge by layer: each mode, what the injection adds, and what it changes at equal input."""

from __future__ import annotations

from typing import Any

from ..knowledge import KnowledgeStudy
from .style import band, layer_axis, look, panels, styled, zero_line


@styled
def knowledge_figure(study: KnowledgeStudy, *, compatible: bool = False) -> Any:
    """Returns the figure of a knowledge study.

    Args:
        compatible: draw what ReDeEP's code computes in place of the score.
    """
    curves = study.redeep_compat if compatible else study.pks
    name = "ReDeEP's divergence" if compatible else "PKS"
    differences = {} if compatible else study.differences()
    response = {"own": "each mode's own response", "gold": "the gold answer in all modes"}.get(
        study.response, f"the response of {study.response} in all modes"
    )
    count = 1 + bool(differences) + bool(study.changed) + bool(study.ecs)
    figure, axes = panels(count, title=f"{name} by layer, {response} (n = {study.n}, band: 95 % interval)")
    layers = range(next(iter(curves.values())).values.shape[1])
    rest = iter(axes)

    first = next(rest)
    for position, (mode, curve) in enumerate(curves.items()):
        band(first, layers, curve.estimates(), mode, look(mode, position))
    first.set_title("how much each feed-forward block changes the prediction")
    first.set_ylabel(f"{name} (nats)")
    first.set_ylim(bottom=0)
    if differences:
        second = next(rest)
        for pair, curve in differences.items():
            band(second, layers, curve.estimates(), pair, look(pair.partition(" ")[0]))
        zero_line(second)
        second.set_title("what the injection adds to it")
        second.set_ylabel("difference of PKS (nats)")
    if study.changed:
        third = next(rest)
        for mode, curve in study.changed.items():
            band(third, layers, curve.estimates(), mode, look(mode))
        third.set_title("what the injection changes, equal input")
        third.set_ylabel("JSD of base and injected (nats)")
        third.set_ylim(bottom=0)
    if study.ecs:
        fourth = next(rest)
        for mode, curve in study.ecs.items():
            band(fourth, layers, curve.estimates(), mode, look(mode))
        fourth.set_title("external context score, mean over heads")
        fourth.set_ylabel("cosine")
    for each in axes:
        layer_axis(each, len(layers))
        each.legend()
    return figure
