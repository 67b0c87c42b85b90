"""The stacked, cached trainer equals separate naive runs, whoever trains beside whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from oracles.dense import dense_updates, merged, on_from, train_alone
from paramrag.aggregate import concat
from paramrag.config import Recipe
from paramrag.models import BaseModel
from paramrag.parameterize import Failed, budget, train
from paramrag.parameterize import trainer as trainer_module
from paramrag.parameterize.optimizer import StackedAdamW
from paramrag.parameterize.sequences import sequences
from paramrag.parameterize.trainer import initial_row
from paramrag.store.layout import AdapterLayout
from paramrag.types import Adapter
from tiny import FAMILIES, layout_of, make_passage, random_rows, tiny_base

DEFAULT = Recipe(layers="2-3", epochs=4, learning_rate=2e-3)
PAPER = Recipe(
    activation="full", objective="nll-all", training_set="prag", epochs=2, learning_rate=1e-3, weight_decay=0.01, clip=0
)
FULL_ANSWER = Recipe(activation="full", layers="1-3", epochs=2, learning_rate=2e-3)


def adapters(recipe: Recipe, numbers: list[int], family: str = "llama") -> dict[str, Adapter]:
    base = tiny_base(family)
    made = list(train(base, recipe, layout_of(base, recipe), [make_passage(number) for number in numbers]))
    assert all(isinstance(entry, Adapter) for entry in made), made
    return {entry.key.passage_id: entry for entry in made if isinstance(entry, Adapter)}


BOTH = DEFAULT.model_copy(update={"training_set": "both"})
TAUGHT = Recipe(layers="1,3", epochs=3, learning_rate=2e-3, clip=0, nll_weight=0.5, kl_weight=1.0, state_weight=2.0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "recipe", [DEFAULT, PAPER, FULL_ANSWER, TAUGHT, BOTH], ids=["default", "paper", "full", "taught", "both"]
)
def test_equals_a_naive_run_per_passage(family: str, recipe: Recipe) -> None:
    base = tiny_base(family)
    layout = layout_of(base, recipe)
    stacked = adapters(recipe, [0, 1, 2], family)
    for number in (0, 1, 2):
        passage, items = make_passage(number)
        start = initial_row(layout, recipe.seed)
        row, losses = train_alone(base, recipe, layout, start, sequences(base, recipe, passage, items))
        ours = stacked[passage.id]
        assert ours.stats["first_loss"] == pytest.approx(losses[0], rel=1e-4)
        assert ours.stats["loss"] == pytest.approx(losses[-1], rel=1e-3)
        moved = np.abs(row - start).max()
        assert moved > recipe.learning_rate
        assert np.abs(ours.row - row).mean() < 0.02 * np.abs(row - start).mean()


def test_company_and_order_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = DEFAULT.model_copy(update={"batch_items": 2, "schedule": "linear"})
    together = adapters(recipe, [0, 1, 2, 3, 4])
    reversed_ = adapters(recipe, [4, 3, 2, 1, 0])
    monkeypatch.setattr(budget, "MICRO_BATCH_TOKENS", 16)
    in_pieces = adapters(recipe, [0, 1, 2, 3, 4])
    for number in range(5):
        alone = adapters(recipe, [number])
        for passage_id, adapter in alone.items():
            for other in (together, reversed_, in_pieces):
                np.testing.assert_allclose(other[passage_id].row, adapter.row, atol=2e-4)
                assert other[passage_id].stats["steps"] == adapter.stats["steps"]


def test_the_memory_budget_decides_how_much_runs_together() -> None:
    base, recipe = tiny_base(), DEFAULT
    layout = layout_of(base, recipe)
    whole = budget.micro_batch_tokens(base, layout, 4 << 30)
    assert whole == budget.MICRO_BATCH_TOKENS
    assert budget.micro_batch_tokens(base, layout, 1) == 1
    some = budget.micro_batch_tokens(base, layout, 1 << 20)
    assert 1 < some < whole
    # two adapted layers of width 16 and 40: what half a mebibyte holds
    assert some == (1 << 19) // ((12 * 16 + 8 * 40) * 2 * 4)


def test_the_memory_budget_decides_which_passages_train_together(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[list[str]] = []

    class Run(trainer_module._Run):
        def __init__(self, base: BaseModel, recipe: Recipe, layout: AdapterLayout, jobs: Any, *others: Any) -> None:
            runs.append([passage.id for passage, _ in jobs])
            super().__init__(base, recipe, layout, jobs, *others)

    monkeypatch.setattr(trainer_module, "_Run", Run)
    base, layout, batch = tiny_base(), layout_of(tiny_base(), DEFAULT), [make_passage(number) for number in range(3)]
    roomy = {a.key.passage_id: a for a in train(base, DEFAULT, layout, batch) if isinstance(a, Adapter)}
    tight = {a.key.passage_id: a for a in train(base, DEFAULT, layout, batch, memory=1) if isinstance(a, Adapter)}
    assert runs == [[passage.id for passage, _ in batch], *([passage.id] for passage, _ in batch)]
    for passage_id, adapter in roomy.items():
        np.testing.assert_allclose(tight[passage_id].row, adapter.row, atol=2e-4)


def test_what_is_told_of_a_passage_adds_up_to_one() -> None:
    base, batch = tiny_base(), [make_passage(number) for number in range(3)]
    told: list[float] = []
    list(train(base, DEFAULT, layout_of(base, DEFAULT), batch, told=told.append))
    assert len(told) == DEFAULT.epochs
    assert sum(told) == pytest.approx(3)


def test_finished_passages_leave_early_and_the_others_go_on() -> None:
    recipe = Recipe(epochs=80, stop_probability=0.03, rank=8, alpha=8, learning_rate=3e-3, clip=0)
    made = adapters(recipe, [0, 1, 2])
    steps = [adapter.stats["steps"] for adapter in made.values()]
    assert steps[0] < 80
    assert len(set(steps)) > 1
    assert all(adapter.stats["least_probability"] >= 0.03 for adapter in made.values() if adapter.stats["steps"] < 80)


def test_a_passage_without_items_fails_alone() -> None:
    base = tiny_base()
    passage, _ = make_passage(1)
    made = list(train(base, DEFAULT, layout_of(base, DEFAULT), [make_passage(0), (passage, []), make_passage(2)]))
    assert [type(entry) for entry in made] == [Adapter, Failed, Adapter]
    assert isinstance(made[1], Failed)
    assert "no training item" in made[1].reason


def test_an_answer_without_tokens_fails_alone() -> None:
    base = tiny_base()
    passage, items = make_passage(1)
    made = list(train(base, DEFAULT, layout_of(base, DEFAULT), [(passage, [replace(items[0], answer="")])]))
    assert isinstance(made[0], Failed)
    assert "no token" in made[0].reason


def test_a_loss_that_is_not_finite_is_retried_lower_and_then_reported() -> None:
    base = tiny_base()
    wild = DEFAULT.model_copy(update={"learning_rate": 1e30, "clip": 0.0})
    made = list(train(base, wild, layout_of(base, wild), [make_passage(0), make_passage(1)]))
    assert all(isinstance(entry, Failed) and "not finite" in entry.reason for entry in made)


def test_nothing_to_train() -> None:
    base = tiny_base()
    assert list(train(base, DEFAULT, layout_of(base, DEFAULT), [])) == []


def test_training_leaves_the_model_as_it_was() -> None:
    base = tiny_base()
    tokens = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = base.model(input_ids=tokens).logits
    adapters(DEFAULT, [0])
    with torch.no_grad():
        assert torch.equal(base.model(input_ids=tokens).logits, before)
    assert all(parameter.grad is None for parameter in base.model.parameters())


def test_stacked_adamw_equals_torchs_per_row_and_after_rows_leave() -> None:
    torch.manual_seed(0)
    start = torch.randn(4, 6)
    rows = start.clone()
    ours = StackedAdamW(rows, weight_decay=0.1, clip=0.5)
    singles = [torch.nn.Parameter(row.clone()) for row in start]
    theirs = [torch.optim.AdamW([single], lr=0.01, weight_decay=0.1) for single in singles]
    staying = [0, 1, 2, 3]
    for step in range(6):
        gradient = torch.randn(len(staying), 6)
        for row, number in enumerate(staying):
            singles[number].grad = gradient[row].clone()
            torch.nn.utils.clip_grad_norm_([singles[number]], 0.5)
            theirs[number].step()
        ours.step(rows, gradient, torch.full((len(staying),), 0.01))
        for row, number in enumerate(staying):
            torch.testing.assert_close(rows[row], singles[number].detach())
        if step == 2:
            keep = torch.tensor([0, 3])
            rows, staying = rows[keep], [0, 3]
            ours.keep(keep)


def test_an_injection_beneath_is_part_of_the_model_while_training() -> None:
    base = tiny_base()
    recipe = FULL_ANSWER
    layout = layout_of(base, recipe)
    below = random_rows(layout, 1)
    batch = [make_passage(number) for number in range(3)]
    beneath = concat(layout, below, [1.0], "full")
    on_top = list(train(base, recipe, layout, batch, beneath=beneath))
    with merged(base, layout, below, [1.0]):
        plain = list(train(base, recipe, layout, batch))
    alone = list(train(base, recipe, layout, batch))
    for one, other, without in zip(on_top, plain, alone, strict=True):
        assert isinstance(one, Adapter)
        assert isinstance(other, Adapter)
        assert isinstance(without, Adapter)
        np.testing.assert_allclose(one.row, other.row, atol=2e-4)
        assert np.abs(one.row - without.row).max() > 1e-3


def test_below_an_answer_adapter_the_context_stays_the_models_own() -> None:
    base = tiny_base()
    layout = layout_of(base, DEFAULT)
    everywhere = layout_of(base, Recipe(layers="all"))
    beneath = concat(everywhere, random_rows(everywhere, 1), [1.0], "answer")
    passage, items = make_passage(2)
    (made,) = train(base, DEFAULT, layout, [(passage, items)], beneath=beneath)
    assert isinstance(made, Adapter)
    updates = dense_updates(everywhere, random_rows(everywhere, 1)[0])
    total, count = 0.0, 0
    for example in sequences(base, DEFAULT, passage, items):
        tokens = torch.tensor([[*example.context, *example.tail]])
        with torch.no_grad(), on_from(base, updates, len(example.context)):
            logits = base.model(input_ids=tokens, use_cache=False).logits[0, len(example.context) :]
        total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(example.labels), reduction="sum"))
        count += example.label_count
    assert made.stats["first_loss"] == pytest.approx(total / count, rel=1e-4)
