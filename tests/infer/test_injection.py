"""Injection adds exactly the low-rank updates, per row, and leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oracles.dense import merged
from paramrag.aggregate import concat
from paramrag.config import Recipe
from paramrag.errors import MismatchError
from paramrag.infer import Engine, injected, stack
from tiny import FAMILIES, layout_of, random_rows, tiny_base

PROMPT = "The mill at Orrin was built by"


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_weights_with_the_updates_added(family: str) -> None:
    base = tiny_base(family)
    layout = layout_of(base, Recipe(rank=2, alpha=4, layers="1-3"))
    rows, weights = random_rows(layout, 3), [1.0, 0.5, -0.25]
    engine = Engine(base)
    with engine.inject(concat(layout, rows, weights, "full")):
        live = engine.logits(PROMPT)
    with merged(base, layout, rows, weights):
        dense = engine.logits(PROMPT)
    assert (live - engine.logits(PROMPT)).abs().max() > 0.05
    torch.testing.assert_close(live, dense, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("modules", [("down_proj",), ("gate_proj", "down_proj"), ("up_proj",)])
def test_any_choice_of_modules(modules: tuple[str, ...]) -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(modules=modules, layers="last"))
    rows = random_rows(layout, 1)
    engine = Engine(base)
    with engine.inject(concat(layout, rows, [1.0], "full"), scale=0.5):
        live = engine.logits(PROMPT)
    with merged(base, layout, rows, [0.5]):
        torch.testing.assert_close(live, engine.logits(PROMPT), atol=1e-4, rtol=1e-4)


def test_logits_afterwards_are_bit_identical_also_after_an_exception() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe())
    injection = concat(layout, random_rows(layout, 1), [1.0], "full")
    engine = Engine(base)
    before = engine.logits(PROMPT)
    with engine.inject(injection):
        engine.logits(PROMPT)
    assert torch.equal(engine.logits(PROMPT), before)
    with pytest.raises(IndexError), engine.inject(injection):
        engine.logits([10**9])
    assert torch.equal(engine.logits(PROMPT), before)
    assert not any("forward" in vars(linear) for ffn in base.ffn for linear in ffn.values())


def test_an_injection_within_another_adds_to_it() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="1-3"))
    one, other = (concat(layout, random_rows(layout, 1, seed), [1.0], "full") for seed in (1, 2))
    both = concat(layout, np.concatenate([random_rows(layout, 1, seed) for seed in (1, 2)]), [1.0, 1.0], "full")
    ids = torch.tensor([base.tokenizer(PROMPT)["input_ids"]])
    with torch.no_grad():
        plain = base.model(input_ids=ids).logits
        with injected(base, stack([one], base)):
            outer = base.model(input_ids=ids).logits
            with injected(base, stack([other], base)):
                inner = base.model(input_ids=ids).logits
            assert torch.equal(base.model(input_ids=ids).logits, outer)
        assert torch.equal(base.model(input_ids=ids).logits, plain)
        with injected(base, stack([both], base)):
            torch.testing.assert_close(base.model(input_ids=ids).logits, inner, atol=1e-5, rtol=1e-5)


def test_rows_of_a_batch_have_their_own_injections() -> None:
    base = tiny_base()
    deep, wide = layout_of(base, Recipe(layers="last")), layout_of(base, Recipe(rank=3, layers="0,2"))
    only_down = layout_of(base, Recipe(modules=("down_proj",)))
    injections = [
        concat(deep, random_rows(deep, 2, 1), [1.0, 1.0], "full"),
        None,
        concat(wide, random_rows(wide, 1, 2), [1.0], "full"),
        concat(only_down, random_rows(only_down, 1, 3), [1.0], "full"),
    ]
    ids = torch.tensor([base.tokenizer(PROMPT)["input_ids"]])
    with torch.no_grad(), injected(base, stack(injections, base)):
        together = base.model(input_ids=ids.repeat(4, 1)).logits
    for row, injection in enumerate(injections):
        with torch.no_grad(), injected(base, stack([injection], base)):
            torch.testing.assert_close(together[row], base.model(input_ids=ids).logits[0], atol=1e-5, rtol=1e-5)


def test_earlier_layers_are_untouched() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="2"))
    ids = torch.tensor([base.tokenizer(PROMPT)["input_ids"]])
    with torch.no_grad():
        plain = base.model(input_ids=ids, output_hidden_states=True).hidden_states
        with injected(base, stack([concat(layout, random_rows(layout, 1), [1.0], "full")], base)):
            live = base.model(input_ids=ids, output_hidden_states=True).hidden_states
    assert [torch.equal(a, b) for a, b in zip(plain, live, strict=True)] == [True, True, True, False, False]


def test_another_models_injection_is_refused() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe())
    injection = concat(layout, random_rows(layout, 1), [1.0], "full")
    deeper = type(injection)((0, 1, 2, 9), injection.a, injection.b, "full")
    with pytest.raises(MismatchError, match="adapts layer 9"):
        stack([deeper], base)
    narrow = type(injection)(injection.layers, {"down_proj": injection.a["gate_proj"]}, injection.b, "full")
    with pytest.raises(MismatchError, match="made for another base model"):
        stack([narrow], base)
