"""Truncated, thinned and orthogonal merges: what they compute, and what must not matter to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate.merging import LAYOUT, PLACES, assert_same, dense_sum, random_rows, updates_of
from oracles.dense import dense_updates
from paramrag.aggregate import aggregator, concat, dare, orthogonal, svd, ties
from paramrag.aggregate.sparse import elect, trim
from paramrag.config import Recipe
from paramrag.errors import ConfigError
from paramrag.infer import Engine
from paramrag.store.layout import AdapterLayout
from paramrag.types import ModuleShape
from tiny import layout_of, tiny_base

ALL = ("concat", "mean", "svd", "ties", "dare", "dare_ties", "orthogonal")
EXACT_ALONE = ("concat", "svd", "ties:density=1", "dare:density=1", "dare_ties:density=1", "orthogonal")
weight = st.floats(0.125, 2, width=32)
weights_lists = st.lists(weight, min_size=1, max_size=4, unique=True)
seeds = st.integers(0, 1000)


@pytest.mark.parametrize("spec", [*ALL, "svd:rank=1", "ties:rank=3,density=0.5", "dare:seed=4,rank=1"])
def test_shapes_and_types(spec: str) -> None:
    injection = aggregator(spec)(LAYOUT, random_rows(3, 0), [1.0, 0.5, 0.0], "answer")
    assert (injection.layers, injection.activation) == (LAYOUT.layers, "answer")
    for module in LAYOUT.modules:
        a, b = injection.a[module.name], injection.b[module.name]
        assert a.dtype == b.dtype == torch.float32
        assert (a.shape[0], a.shape[2]) == (2, module.in_features)
        assert b.shape == (2, a.shape[1], module.out_features)
        assert torch.isfinite(a).all()
        assert torch.isfinite(b).all()


@pytest.mark.parametrize("spec", [*ALL, "ties:density=0.7", "dare_ties:density=0.9"])
@given(weights=weights_lists, seed=seeds, order=st.randoms())
@settings(deadline=None, max_examples=15)
def test_the_order_of_adapters_does_not_matter(spec: str, weights: list[float], seed: int, order: Any) -> None:
    rows, merge = random_rows(len(weights), seed), aggregator(spec)
    numbers = list(range(len(weights)))
    order.shuffle(numbers)
    one = merge(LAYOUT, rows, weights, "full")
    other = merge(LAYOUT, rows[numbers], [weights[number] for number in numbers], "full")
    assert_same(updates_of(other), updates_of(one), 1e-3)


@pytest.mark.parametrize("spec", ALL)
@given(weights=weights_lists, seed=seeds, at=st.integers(0, 4))
@settings(deadline=None, max_examples=15)
def test_weight_zero_drops_an_adapter(spec: str, weights: list[float], seed: int, at: int) -> None:
    rows, merge = random_rows(len(weights), seed), aggregator(spec)
    at = min(at, len(weights))
    more = np.insert(rows, at, random_rows(1, seed + 1), axis=0)
    with_zero = merge(LAYOUT, more, [*weights[:at], 0.0, *weights[at:]], "full")
    assert_same(updates_of(with_zero), updates_of(merge(LAYOUT, rows, weights, "full")), 1e-3)


@pytest.mark.parametrize("spec", EXACT_ALONE)
@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_one_adapter_alone_is_unchanged(spec: str, seed: int) -> None:
    row = random_rows(1, seed)
    assert_same(updates_of(aggregator(spec)(LAYOUT, row, [1.0], "full")), dense_sum(row, [1.0]))


@pytest.mark.parametrize("spec", [spec for spec in ALL if spec != "mean"])
def test_no_weight_at_all_is_no_update(spec: str) -> None:
    injection = aggregator(spec)(LAYOUT, random_rows(2, 0), [0.0, 0.0], "full")
    assert not any(update.any() for update in updates_of(injection).values())


@pytest.mark.parametrize("spec", [*ALL, *EXACT_ALONE])
def test_an_adapter_that_was_never_trained_is_no_update(spec: str) -> None:
    row = random_rows(1, 0)
    for _, b in LAYOUT.views(row).values():
        b[:] = 0
    assert not any(update.any() for update in updates_of(aggregator(spec)(LAYOUT, row, [1.0], "full")).values())


@given(weights=st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=5), seed=seeds)
@settings(deadline=None, max_examples=30)
def test_svd_at_full_rank_is_the_sum(weights: list[float], seed: int) -> None:
    rows = random_rows(len(weights), seed)
    injection = svd(LAYOUT, rows, weights, "full", rank=2 * len(weights))
    assert_same(updates_of(injection), dense_sum(rows, weights))


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_svd_is_the_best_approximation_of_the_dense_sum(rank: int) -> None:
    rows, weights = random_rows(3, 7), [1.0, -0.5, 0.25]
    expected = {}
    for place, update in dense_sum(rows, weights).items():
        u, s, v = torch.linalg.svd(update, full_matrices=False)
        expected[place] = u[:, :rank] * s[:rank] @ v[:rank]
    injection = svd(LAYOUT, rows, weights, "full", rank=rank)
    assert injection.a["down_proj"].shape[1] == rank
    assert_same(updates_of(injection), expected)
    assert svd(LAYOUT, rows, weights, "full").a["down_proj"].shape[1] == LAYOUT.rank


def test_more_adapters_than_a_narrow_projection_has_room_for() -> None:
    narrow = AdapterLayout((0,), (ModuleShape("up_proj", 3, 4),), rank=2, alpha=2.0)
    rows = random_rows(5, 1, narrow)
    whole = dense_sum(rows, [1.0] * 5, narrow)
    assert_same(updates_of(svd(narrow, rows, [1.0] * 5, "full", rank=10)), whole)
    assert_same(updates_of(dare(narrow, rows, [1.0] * 5, "full", density=1.0)), whole)
    assert torch.isfinite(updates_of(orthogonal(narrow, rows, [1.0] * 5, "full"))[0, "up_proj"]).all()


def test_trimming_keeps_the_largest_numbers_of_each_update() -> None:
    updates = np.array([[[1.0, -5.0], [3.0, 2.0]], [[0.1, 0.2], [-0.4, 0.3]]], dtype=np.float32)
    assert trim(updates, 0.5).tolist() == [[[0, -5], [3, 0]], [[0, 0], [np.float32(-0.4), np.float32(0.3)]]]
    np.testing.assert_array_equal(trim(updates, 1.0), updates)
    assert (trim(updates, 0.01) != 0).sum() == 2  # the largest of each is always kept


def test_election_worked_by_hand() -> None:
    #        agree      first wins   second wins with its weight   a tie   one alone
    first = [4.0, 4.0, 2.0, 3.0, 6.0]
    second = [2.0, -2.0, -1.5, -1.5, 0.0]
    updates = np.array([[first], [second]], dtype=np.float32)
    np.testing.assert_allclose(elect(updates, [1.0, 1.0]), [[3.0, 4.0, 2.0, 3.0, 6.0]])
    np.testing.assert_allclose(elect(updates, [1.0, 2.0]), [[(4 + 4) / 3, 0.0, -1.5, 0.0, 6.0]], rtol=1e-6)
    np.testing.assert_allclose(elect(updates, [1.0, -1.0]), [[4.0, 3.0, 1.75, 2.25, 6.0]])


@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_ties_of_one_adapter_with_itself_is_the_adapter_trimmed(seed: int) -> None:
    row = random_rows(1, seed)
    twice = ties(LAYOUT, np.repeat(row, 2, axis=0), [1.0, 1.0], "full", density=0.5, rank=11)
    expected = {
        place: torch.from_numpy(trim(update[None].numpy(), 0.5)[0])
        for place, update in dense_updates(LAYOUT, row[0]).items()
    }
    assert_same(updates_of(twice), expected)


def test_what_dare_drops_does_not_depend_on_company() -> None:
    rows = random_rows(3, 5)
    merged = updates_of(dare(LAYOUT, rows, [1.0, 0.5, 0.25], "full", density=0.3, rank=11))
    alone = [updates_of(dare(LAYOUT, rows[at : at + 1], [1.0], "full", density=0.3, rank=11)) for at in range(3)]
    expected = {place: alone[0][place] + 0.5 * alone[1][place] + 0.25 * alone[2][place] for place in merged}
    assert_same(merged, expected)
    kept = [float((update.abs() > 1e-3).float().mean()) for update in alone[0].values()]
    assert 0.15 < np.mean(kept) < 0.45
    again = updates_of(dare(LAYOUT, rows, [1.0, 0.5, 0.25], "full", density=0.3, rank=11))
    assert all(torch.equal(again[place], merged[place]) for place in PLACES)
    other = updates_of(dare(LAYOUT, rows, [1.0, 0.5, 0.25], "full", density=0.3, rank=11, seed=1))
    assert not any(torch.allclose(other[place], merged[place], atol=0.1) for place in PLACES)


def test_dare_gives_the_sum_on_average() -> None:
    rows, weights = random_rows(2, 8), [1.0, 0.5]
    draws = 200
    total = {place: torch.zeros_like(update) for place, update in dense_sum(rows, weights).items()}
    for seed in range(draws):
        for place, update in updates_of(dare(LAYOUT, rows, weights, "full", density=0.5, rank=11, seed=seed)).items():
            total[place] += update / draws
    for place, expected in dense_sum(rows, weights).items():
        # One draw's standard deviation at density 1/2 is the number itself; five of the mean's are allowed.
        assert ((total[place] - expected).abs() < 5 * 4.0 * expected.abs().max() / draws**0.5).all()
        assert float((total[place] - expected).norm() / expected.norm()) < 0.15


def test_merging_leaves_torchs_random_stream_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    ties(LAYOUT, random_rows(2, 0), [1.0, 1.0], "full")
    assert torch.equal(torch.rand(4), expected)


def test_thinned_merges_at_a_realistic_width_are_near_the_best_approximation() -> None:
    wide = AdapterLayout((0,), (ModuleShape("up_proj", 96, 256),), rank=2, alpha=4.0)
    rows = random_rows(3, 11, wide)
    whole = updates_of(ties(wide, rows, [1.0] * 3, "full", rank=96))[0, "up_proj"]
    kept = updates_of(ties(wide, rows, [1.0] * 3, "full"))[0, "up_proj"]
    best = torch.linalg.svdvals(whole)[6:].norm()
    assert float((whole - kept).norm()) <= 1.0005 * float(best)


# Orthogonal


@given(weights=st.lists(weight, min_size=2, max_size=4, unique=True), seed=seeds)
@settings(deadline=None, max_examples=20)
def test_the_strongest_adapter_answers_its_own_inputs_as_if_alone(weights: list[float], seed: int) -> None:
    rows = random_rows(len(weights), seed)
    merged = updates_of(orthogonal(LAYOUT, rows, weights, "full"))
    best = int(np.argmax(weights))
    alone = dense_sum(rows[best : best + 1], weights[best : best + 1])
    for at, layer in enumerate(LAYOUT.layers):
        for name, (a_LrI, _) in LAYOUT.views(rows[best]).items():
            inputs = torch.from_numpy(a_LrI[at]).T
            torch.testing.assert_close(merged[layer, name] @ inputs, alone[layer, name] @ inputs, atol=2e-3, rtol=1e-4)


def test_orthogonal_is_gram_schmidt_on_the_dense_updates() -> None:
    rows, weights = random_rows(3, 2), [0.5, 2.0, -1.0]
    merged = updates_of(orthogonal(LAYOUT, rows, weights, "full"))
    for place, found in merged.items():
        total, taken = torch.zeros_like(found), torch.zeros(0, found.shape[1])
        for number in (1, 2, 0):
            update = weights[number] * dense_updates(LAYOUT, rows[number])[place]
            total += update - update @ torch.linalg.pinv(taken) @ taken if len(taken) else update
            taken = torch.cat([taken, torch.linalg.svd(update)[2][:2]])
        torch.testing.assert_close(found, total, atol=1e-3, rtol=1e-4)


def test_an_adapter_met_twice_counts_once_and_the_first_of_equals_comes_first() -> None:
    row = random_rows(1, 4)
    twice = orthogonal(LAYOUT, np.repeat(row, 2, axis=0), [1.0, 0.5], "full")
    assert_same(updates_of(twice), dense_sum(row, [1.0]))
    rows = random_rows(2, 4)
    for module in ("gate_proj", "down_proj"):
        LAYOUT.views(rows[1])[module][0][:] = LAYOUT.views(rows[0])[module][0]  # the same A, another B
    assert_same(updates_of(orthogonal(LAYOUT, rows, [1.0, 1.0], "full")), dense_sum(rows[:1], [1.0]))


def test_updates_that_read_other_inputs_are_summed() -> None:
    rows, weights = random_rows(3, 6), [1.0, 0.5, 0.25]
    for number in range(3):
        for a_LrI, _ in LAYOUT.views(rows[number]).values():
            a_LrI[:, :, [at for at in range(a_LrI.shape[2]) if at % 3 != number]] = 0
    assert_same(updates_of(orthogonal(LAYOUT, rows, weights, "full")), dense_sum(rows, weights))


def test_directions_that_an_update_does_not_use_stay_free() -> None:
    rows, weights = random_rows(2, 9), [1.0, 0.5]
    for a_LrI, b_LrO in LAYOUT.views(rows[0]).values():
        b_LrO[:, 1] = 0  # the stronger adapter reads along its first row alone,
        a_LrI[:, 0, 1:], a_LrI[:, 0, 0] = 0, 1.0  # which is the first input
    merged = updates_of(orthogonal(LAYOUT, rows, weights, "full"))
    whole = dense_sum(rows, weights)
    for place in PLACES:
        torch.testing.assert_close(merged[place][:, 1:], whole[place][:, 1:], atol=1e-3, rtol=1e-4)


# Names and options


@pytest.mark.parametrize("spec", ALL)
def test_the_engine_takes_every_merge(spec: str) -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="last-half"))
    engine = Engine(base)
    plain = engine.logits("The mill at Orrin")
    with engine.inject(aggregator(spec)(layout, random_rows(3, 0, layout) / 10, [1.0, 0.5, 0.25], "full")):
        assert not torch.allclose(engine.logits("The mill at Orrin"), plain, atol=1e-3)


def test_options_reach_the_rule() -> None:
    rows = random_rows(2, 3)
    spec = aggregator("ties: density = 0.5 ,rank=1")(LAYOUT, rows, [1.0, 0.5], "full")
    direct = ties(LAYOUT, rows, [1.0, 0.5], "full", density=0.5, rank=1)
    assert torch.equal(spec.a["gate_proj"], direct.a["gate_proj"])
    assert aggregator("svd:rank=1")(LAYOUT, rows, [1.0, 0.5], "full").a["gate_proj"].shape[1] == 1
    assert aggregator("orthogonal") is orthogonal


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tise", "did you mean 'ties'"),
        ("ties:densty=0.2", "did you mean 'density'"),
        ("ties:density=0", "above 0 and at most 1"),
        ("ties:density=1.5", "above 0 and at most 1"),
        ("ties:density=nan", "above 0 and at most 1"),
        ("dare:density=half", "'half'; expected the share"),
        ("svd:rank=0", "rank is '0'; expected a whole number, 1 or more"),
        ("svd:rank=2.5", "rank is '2.5'"),
        ("dare:seed=-1", "seed is '-1'; expected a whole number, 0 or more"),
        ("ties:0.2", "'0.2' sets no option"),
        ("ties:", "sets no option"),
        ("ties:density=0.2,density=0.3", "density is given twice"),
        ("concat:rank=2", "concat has no options"),
        ("orthogonal:", "orthogonal has no options"),
    ],
)
def test_options_that_cannot_be_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        aggregator(spec)


def test_options_are_checked_from_python_too() -> None:
    rows = random_rows(2, 0)
    with pytest.raises(ConfigError, match="density is 2"):
        ties(LAYOUT, rows, [1.0, 1.0], "full", density=2)
    with pytest.raises(ConfigError, match=r"rank is 2\.5"):
        svd(LAYOUT, rows, [1.0, 1.0], "full", rank=2.5)  # type: ignore[arg-type]
    for merge in (concat, svd, ties, dare, orthogonal):
        with pytest.raises(ConfigError, match="k weights"):
            merge(LAYOUT, rows, [1.0], "full")
