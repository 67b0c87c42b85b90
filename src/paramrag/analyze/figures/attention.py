"""Attention to the passage that answers, and the place where it stands."""

from __future__ import annotations

from typing import Any

from ..attention import RETRIEVED, AttentionStudy
from .style import GREY, MODE_LOOKS, Look, band, layer_axis, panels, styled, zero_line

_LOOKS = {"base": MODE_LOOKS["t-rag"], "injected": MODE_LOOKS["pt-rag"]}


@styled
def attention_figure(study: AttentionStudy) -> Any:
    """Returns the gold passage's share by layer, what the injection adds to it, and both by position."""
    rows = study.orders[RETRIEVED]
    injected = "injected" in rows
    title = f"attention to the gold passage among {study.passages} (n = {study.n}, band: 95 % interval)"
    figure, axes = panels(3 + injected, title=title)
    rest = iter(axes)
    layers = rows["base"].gold_share.values.shape[1]

    first = next(rest)
    for name, gaze in rows.items():
        band(first, range(layers), gaze.gold_share.estimates(), name, _LOOKS[name])
    first.axhline(1 / study.passages, color=GREY, linestyle=":", label="equal for all passages")
    first.set_title("as retrieved")
    first.set_ylabel("gold share of attention on passages")
    layer_axis(first, layers)
    first.legend()
    if injected:
        second = next(rest)
        band(second, range(layers), study.moved().estimates(), "injected - base", Look("#D55E00", "-", "o"))
        zero_line(second)
        second.set_title("what the injection adds")
        second.set_ylabel("difference of gold share")
        layer_axis(second, layers)
        second.legend()
    places = [order for order in study.orders if order != RETRIEVED]
    third, fourth = next(rest), next(rest)
    for name in rows:
        found = [study.orders[place][name] for place in places]
        band(third, range(len(places)), [gaze.gold_share.mean() for gaze in found], name, _LOOKS[name])
        band(fourth, range(len(places)), [gaze.log_prob for gaze in found], name, _LOOKS[name])
    third.set_ylabel("gold share, mean over layers")
    fourth.set_ylabel("log-probability of the\ngold answer (nats per token)")
    third.set_title("attention by position")
    fourth.set_title("answer by position")
    for each in (third, fourth):
        each.set_xticks(range(len(places)), places)
        each.set_xlabel("place of the gold passage in the prompt")
        each.legend()
    return figure
