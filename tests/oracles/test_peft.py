"""Injection and aggregation against PEFT: merged weights, `add_weighted_adapter`, and what it does per type."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peft.utils.merge_utils
import pytest
import torch
from peft import PeftModel

from paramrag.aggregate import aggregator, concat, dare, dare_ties, svd, ties
from paramrag.aggregate.sparse import Dropping
from paramrag.config import Recipe
from paramrag.infer import Engine
from paramrag.models import BaseModel
from paramrag.store.layout import AdapterLayout
from paramrag.store.peft import export_peft
from paramrag.types import Adapter, AdapterKey, Injection
from tiny import layout_of, random_rows, tiny_base

PROMPT = "The mill at Orrin was built by"
FULL = 16  # the narrowest projection of the tiny models: at this rank nothing is truncated


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT says that density 1 prunes nothing
        yield


def in_peft(base: BaseModel, layout: AdapterLayout, rows: np.ndarray, folder: Path) -> PeftModel:
    """A copy of the model with adapters "0", "1", ... loaded by PEFT from exported directories."""
    model: Any = copy.deepcopy(base.model)
    for number, row in enumerate(rows):
        adapter = Adapter(AdapterKey(f"p{number}", base.fingerprint, "r"), row, layout)
        source = export_peft([adapter], folder / str(number), base_name=base.name, layer_count=base.layer_count)
        if number == 0:
            model = PeftModel.from_pretrained(model, source, adapter_name="0")
        else:
            model.load_adapter(source, adapter_name=str(number))
    return model


def combined(model: PeftModel, weights: list[float], combination_type: str, **options: Any) -> PeftModel:
    names = [str(number) for number in range(len(weights))]
    model.add_weighted_adapter(names, weights, "merged", combination_type=combination_type, **options)
    model.set_adapter("merged")
    return model


def assert_updates_are(injection: Injection, model: PeftModel) -> None:
    for at, layer in enumerate(injection.layers):
        for name in injection.a:
            expected = getattr(model.base_model.model.model.layers[layer].mlp, name).get_delta_weight("merged")
            found = injection.b[name][at].T @ injection.a[name][at]
            torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()) + 1e-6, rtol=1e-4)


def logits(model: Any, base: BaseModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([base.tokenizer(PROMPT)["input_ids"]])).logits[0]
    return found


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("recipe", [Recipe(), Recipe(rank=3, alpha=6, layers="last-half", modules=("down_proj",))])
def test_an_injection_is_the_model_with_the_adapter_merged(family: str, recipe: Recipe, tmp_path: Path) -> None:
    base = tiny_base(family)
    layout = layout_of(base, recipe)
    rows = random_rows(layout, 1)
    merged = in_peft(base, layout, rows, tmp_path).merge_and_unload()
    engine = Engine(base)
    with engine.inject(concat(layout, rows, [1.0], "full")):
        live = engine.logits(PROMPT)
    torch.testing.assert_close(live, logits(merged, base), atol=5e-4, rtol=1e-4)
    assert (live - engine.logits(PROMPT)).abs().max() > 0.05


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [1.0, 0.25, -0.5]])
def test_concat_is_cat_in_updates_and_logits(weights: list[float], tmp_path: Path) -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe())
    rows = random_rows(layout, 3)
    model = combined(in_peft(base, layout, rows, tmp_path), weights, "cat")
    injection = concat(layout, rows, weights, "full")
    assert_updates_are(injection, model)
    engine = Engine(base)
    with engine.inject(injection):
        live = engine.logits(PROMPT)
    torch.testing.assert_close(live, logits(model, base), atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize("rank", [None, 1, 3, 6])
def test_svd_is_svd(rank: int | None, tmp_path: Path) -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="last-half"))
    rows, weights = random_rows(layout, 3), [1.0, 0.5, -0.25]
    model = combined(in_peft(base, layout, rows, tmp_path), weights, "svd", svd_rank=rank)
    assert_updates_are(svd(layout, rows, weights, "full", rank=rank), model)


@pytest.mark.parametrize("density", [0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("rank", [2, 6, FULL])
def test_ties_is_ties_svd_where_adapters_count_alike(density: float, rank: int, tmp_path: Path) -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="last-half"))
    rows = random_rows(layout, 3)
    model = combined(in_peft(base, layout, rows, tmp_path), [1.0] * 3, "ties_svd", svd_rank=rank, density=density)
    assert_updates_are(ties(layout, rows, [1.0] * 3, "full", density=density, rank=rank), model)


@pytest.mark.parametrize(
    ("name", "weights"), [("dare", [1.0, 0.5, -0.25]), ("dare", [1.0] * 3), ("dare_ties", [1.0] * 3)]
)
@pytest.mark.parametrize("rank", [2, FULL])
def test_dare_is_dare_svd_with_the_same_numbers_dropped(
    name: str, weights: list[float], rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="last"))  # one layer: PEFT and we meet its projections in one order
    rows = random_rows(layout, 3)
    model = in_peft(base, layout, rows, tmp_path)
    dropping, thinned = Dropping(rows, 0.4, 5), []
    for a_kLrI, b_kLrO in layout.views(rows).values():
        thinned += list(dropping(np.float32(layout.scale) * b_kLrO[:, 0].transpose(0, 2, 1) @ a_kLrI[:, 0]))
    turn = iter(thinned)

    def same(tensor: torch.Tensor, density: float, rescale: bool) -> torch.Tensor:
        assert (density, rescale) == (0.4, True)
        found = torch.from_numpy(next(turn))
        kept = found != 0
        torch.testing.assert_close(found[kept], tensor[kept] / density, atol=1e-5, rtol=1e-4)
        return found

    monkeypatch.setattr(peft.utils.merge_utils, "random_pruning", same)
    combination_type = {"dare": "dare_linear_svd", "dare_ties": "dare_ties_svd"}[name]
    model = combined(model, weights, combination_type, svd_rank=rank, density=0.4)
    rule = {"dare": dare, "dare_ties": dare_ties}[name]
    assert_updates_are(rule(layout, rows, weights, "full", density=0.4, rank=rank, seed=5), model)


@pytest.mark.parametrize(("spec", "combination_type"), [("ties:density=0.5", "ties"), ("concat", "linear")])
def test_merging_the_factors_apart_is_something_else(spec: str, combination_type: str, tmp_path: Path) -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="last"))
    rows = random_rows(layout, 3)
    options = {"density": 0.5} if combination_type == "ties" else {}
    model = combined(in_peft(base, layout, rows, tmp_path), [1.0] * 3, combination_type, **options)
    with pytest.raises(AssertionError, match="not close"):
        assert_updates_are(aggregator(spec)(layout, rows, [1.0] * 3, "full"), model)
