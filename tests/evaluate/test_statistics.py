import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from paramrag.errors import EvaluationError
from paramrag.evaluate import bootstrap_mean, mcnemar, paired_difference, wilson

BINARY = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)


@pytest.mark.parametrize("n", [2, 17, 300])
def test_bootstrap_is_scipys_percentile_interval(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    ours = bootstrap_mean(values.tolist(), seed=3, resamples=2000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.n == n


def test_bootstrap_in_blocks_keeps_its_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(100).tolist()
    whole = bootstrap_mean(values)
    monkeypatch.setattr("paramrag.evaluate.statistics._BLOCK", 700)
    blocks = bootstrap_mean(values)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=0.005)


def test_bootstrap_interval_covers_the_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        found = bootstrap_mean(rng.exponential(1.0, 60).tolist(), seed=seed, resamples=500)
        covered += found.low <= 1.0 <= found.high
    assert 175 <= covered <= 199


def test_same_seed_same_interval_other_seed_other_interval() -> None:
    values = np.random.default_rng(0).random(50).tolist()
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


@given(BINARY)
def test_wilson_is_scipys(values: list[float]) -> None:
    ours = wilson(values)
    theirs = stats.binomtest(int(sum(values)), len(values)).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= ours.mean <= ours.high <= 1


def test_wilson_has_a_width_where_all_are_equal() -> None:
    assert wilson([1.0] * 10).low == pytest.approx(0.7225, abs=1e-4)
    assert wilson([0.0] * 10).low == 0.0


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), max_size=60))
def test_mcnemar_is_the_exact_binomial_test(pairs: list[tuple[float, float]]) -> None:
    found = mcnemar([a for a, _ in pairs], [b for _, b in pairs])
    only_a, only_b = pairs.count((1.0, 0.0)), pairs.count((0.0, 1.0))
    assert (found.only_a, found.only_b) == (only_a, only_b)
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(expected)


def test_mcnemar_stays_exact_for_many_questions() -> None:
    assert mcnemar([1.0] * 3000 + [0.0] * 2800, [0.0] * 3000 + [1.0] * 2800).p == pytest.approx(
        stats.binomtest(3000, 5800).pvalue
    )


def test_paired_difference_is_b_minus_a() -> None:
    found = paired_difference([0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0])
    assert found.mean == 0.5
    assert found.n == 4
    assert 0.0 <= found.low < 0.5 < found.high <= 1.0


def test_pairing_narrows_the_interval() -> None:
    a = np.random.default_rng(0).random(100)
    b = a + 0.01
    found = paired_difference(a.tolist(), b.tolist())
    assert found.high - found.low < 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_mean([]), "no values"),
        (lambda: bootstrap_mean([1.0, math.nan]), "must be finite"),
        (lambda: wilson([0.5]), "values of 0 or 1"),
        (lambda: paired_difference([1.0], [1.0, 0.0]), "got 1 and 2"),
        (lambda: mcnemar([1.0], [1.0, 0.0]), "got 1 and 2"),
        (lambda: mcnemar([0.5], [1.0]), "values of 0 or 1"),
    ],
)
def test_values_that_cannot_be_used_are_refused(call, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        call()
