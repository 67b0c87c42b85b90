"""Concat is the exact weighted sum of the updates; weightings say how much each hit counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate.merging import LAYOUT, update_of
from aggregate.merging import random_rows as rows
from oracles.dense import dense_updates
from paramrag.aggregate import aggregator, concat, mean, weighting
from paramrag.aggregate.weights import STRENGTH
from paramrag.errors import ConfigError

weights_lists = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=5)


@given(weights=weights_lists, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_concat_is_the_dense_sum(weights: list[float], seed: int) -> None:
    given_rows = rows(len(weights), seed)
    injection = concat(LAYOUT, given_rows, weights, "answer")
    dense = [dense_updates(LAYOUT, row) for row in given_rows]
    for layer in LAYOUT.layers:
        for name in ("gate_proj", "down_proj"):
            expected = sum(weight * update[layer, name] for weight, update in zip(weights, dense, strict=True))
            torch.testing.assert_close(update_of(injection, layer, name), expected, atol=1e-4, rtol=1e-4)


@given(weights=weights_lists, seed=st.integers(0, 1000), order=st.randoms())
@settings(deadline=None, max_examples=25)
def test_order_does_not_matter_and_weight_zero_removes(weights: list[float], seed: int, order: object) -> None:
    given_rows = rows(len(weights), seed)
    numbers = list(range(len(weights)))
    order.shuffle(numbers)  # type: ignore[attr-defined]
    one = concat(LAYOUT, given_rows, weights, "full")
    other = concat(LAYOUT, given_rows[numbers], [weights[n] for n in numbers], "full")
    with_zero = concat(LAYOUT, np.concatenate([given_rows, rows(1, seed + 1)]), [*weights, 0.0], "full")
    for layer in LAYOUT.layers:
        for name in ("gate_proj", "down_proj"):
            torch.testing.assert_close(update_of(one, layer, name), update_of(other, layer, name), atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(
                update_of(one, layer, name), update_of(with_zero, layer, name), atol=1e-4, rtol=1e-4
            )


def test_one_adapter_is_itself() -> None:
    row = rows(1, 3)
    injection = concat(LAYOUT, row, [1.0], "answer")
    torch.testing.assert_close(update_of(injection, 3, "gate_proj"), dense_updates(LAYOUT, row[0])[3, "gate_proj"])
    assert injection.activation == "answer"


def test_mean_is_concat_with_weights_that_sum_to_one() -> None:
    given_rows = rows(3, 5)
    left = mean(LAYOUT, given_rows, [2.0, 1.0, 1.0], "answer")
    right = concat(LAYOUT, given_rows, [0.5, 0.25, 0.25], "answer")
    torch.testing.assert_close(left.b["gate_proj"], right.b["gate_proj"])


@pytest.mark.parametrize("weights", [[], [1.0], [1.0, 1.0, 1.0]])
def test_rows_and_weights_must_match(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="k weights"):
        concat(LAYOUT, rows(2, 0), weights, "answer")


def test_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="positive sum"):
        mean(LAYOUT, rows(2, 0), [1.0, -1.0], "answer")


def test_names() -> None:
    assert aggregator("concat") is concat
    with pytest.raises(ConfigError, match="did you mean 'concat'"):
        aggregator("concta")
    with pytest.raises(ConfigError, match="did you mean 'uniform'"):
        weighting("unifrom")


def test_weightings() -> None:
    def not_asked() -> list[float]:
        raise AssertionError("coverage was looked up though the weighting does not need it")

    assert weighting("uniform")([3.0, 2.0], not_asked) == [1.0, 1.0]
    assert weighting("score")([4.0, 2.0, -1.0], not_asked) == [1.0, 0.25, 0.0]
    assert weighting("score")([0.0, 0.0], not_asked) == [1.0, 1.0]
    assert weighting("top")([4.0, 3.9], not_asked) == [1.0, 0.0]
    for name in ("top", "score", "uniform", "evidence"):
        assert weighting(name)([], not_asked) == []


def test_evidence_keeps_adapters_out_whose_passage_has_nothing_of_the_question() -> None:
    weights = weighting("evidence")([4.0, 2.0, 2.0, 2.0], lambda: [0.9, 0.35, 0.25, 0.15])
    assert weights == pytest.approx([STRENGTH * weight / 1.375 for weight in (1.0, 0.25, 0.125, 0.0)])


@given(st.lists(st.tuples(st.floats(0.1, 50), st.floats(0, 1)), min_size=1, max_size=8))
def test_evidence_never_adds_up_to_more_than_its_strength(hits: list[tuple[float, float]]) -> None:
    scores, held = zip(*sorted(hits, reverse=True), strict=True)
    weights = weighting("evidence")(scores, lambda: held)
    assert sum(weights) <= STRENGTH * (1 + 1e-9)
    assert weighting("evidence")(scores[:1], lambda: [1.0]) == [STRENGTH]
    assert all(weight >= 0 for weight in weights)
