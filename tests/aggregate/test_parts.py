"""Parts of an injection are what the whole has there, and nothing else."""

from __future__ import annotations

import pytest
import torch

from paramrag.aggregate import concat, restrict, scaled
from paramrag.config import Recipe
from paramrag.errors import ConfigError
from paramrag.infer import Engine
from paramrag.types import Injection
from tiny import layout_of, random_rows, tiny_base

PROMPT = "The mill at Orrin was built by"


def _whole() -> Injection:
    layout = layout_of(tiny_base(), Recipe(layers="1-3"))
    return concat(layout, random_rows(layout, 2), [1.0, 0.5], "full")


def test_a_part_is_the_injection_of_an_adapter_that_is_zero_elsewhere() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="1-3"))
    rows = random_rows(layout, 2)
    part = restrict(concat(layout, rows, [1.0, 0.5], "full"), layers=[0, 2, 3], modules=["down_proj", "up_proj"])
    assert part.layers == (2, 3)
    assert set(part.a) == set(part.b) == {"down_proj", "up_proj"}
    for name, (a, b) in layout.views(rows).items():
        if name == "gate_proj":
            a[:], b[:] = 0, 0
        a[:, 0], b[:, 0] = 0, 0
    engine = Engine(base)
    with engine.inject(part):
        live = engine.logits(PROMPT)
    with engine.inject(concat(layout, rows, [1.0, 0.5], "full")):
        torch.testing.assert_close(live, engine.logits(PROMPT), atol=1e-5, rtol=1e-5)


def test_no_choice_keeps_everything() -> None:
    whole = _whole()
    same = restrict(whole)
    assert same.layers == whole.layers
    assert all(torch.equal(same.a[name], whole.a[name]) for name in whole.a)


def test_scaling_is_the_engines_scale() -> None:
    engine, whole = Engine(tiny_base()), _whole()
    before = whole.b["up_proj"].clone()
    with engine.inject(scaled(whole, 0.25)):
        live = engine.logits(PROMPT)
    with engine.inject(whole, scale=0.25):
        torch.testing.assert_close(live, engine.logits(PROMPT))
    assert torch.equal(whole.b["up_proj"], before)


def test_a_part_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="layers 1 to 3"):
        restrict(_whole(), layers=[0])
    with pytest.raises(ConfigError, match="gate_proj, up_proj, down_proj"):
        restrict(_whole(), modules=["q_proj"])
