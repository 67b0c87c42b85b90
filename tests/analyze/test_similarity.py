"""Cosines of updates against dense updates; statistics of pairs against scipy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gaussian_kde, mannwhitneyu

from oracles.dense import dense_updates
from paramrag.analyze.separation import auroc, cohens_d, density, pairs_of, separation
from paramrag.analyze.similarity import Control, cosines, cross_cosines, products, similarity
from paramrag.config import Recipe
from paramrag.errors import EvaluationError
from tiny import layout_of, random_rows, tiny_base

LAYOUT = layout_of(tiny_base(), Recipe(rank=3, alpha=8, layers="1,3"))
DOCUMENTS = ["a", "a", "b", "b", "b", "c"]


def _related(seed: int = 0) -> np.ndarray:
    """Adapters that resemble those of their document."""
    rows = random_rows(LAYOUT, len(DOCUMENTS), seed=seed)
    common = random_rows(LAYOUT, 3, seed=seed + 1)
    return rows + common[["abc".index(name) for name in DOCUMENTS]]


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))


def test_equals_the_dense_updates() -> None:
    rows = random_rows(LAYOUT, 4).astype(np.float64)
    dense = [{key: np.asarray(update) for key, update in dense_updates(LAYOUT, row).items()} for row in rows]
    for entry in products(LAYOUT, rows):
        key = (entry.layer, entry.module)
        wanted = [[float((one[key] * other[key]).sum()) for other in dense] for one in dense]
        np.testing.assert_allclose(entry.updates, wanted, rtol=1e-9)


def test_whole_updates_count_by_their_energy() -> None:
    rows = _related()
    study = similarity(LAYOUT, rows, DOCUMENTS)
    whole = [np.concatenate([np.asarray(u).ravel() for u in dense_updates(LAYOUT, row).values()]) for row in rows]
    for i in range(len(rows)):
        for j in range(len(rows)):
            assert study.energy[i, j] == pytest.approx(_cosine(whole[i], whole[j]), abs=1e-5)
    np.testing.assert_allclose(cross_cosines(LAYOUT, rows[:2], rows[1:3]), study.energy[[0, 1], [1, 2]], atol=1e-9)


def test_modules_are_means_over_layers_of_updates_and_of_flattened_factors() -> None:
    rows = _related()
    study = similarity(LAYOUT, rows, DOCUMENTS)
    dense = [dense_updates(LAYOUT, row) for row in rows[:2]]
    views = LAYOUT.views(rows)
    for name in ("gate_proj", "up_proj", "down_proj"):
        update = np.mean([_cosine(*(np.asarray(each[layer, name]) for each in dense)) for layer in (1, 3)])
        assert study.modules[name][0, 1] == pytest.approx(update, abs=1e-5)
        flat = [
            [np.concatenate([factor[row, layer].ravel() for factor in views[name]]) for layer in (0, 1)]
            for row in (0, 1)
        ]
        wanted = np.mean([_cosine(flat[0][layer], flat[1][layer]) for layer in (0, 1)])
        assert study.paper_compat[name][0, 1] == pytest.approx(wanted, abs=1e-5)


def test_updates_do_not_depend_on_how_they_are_factored_as_flattened_factors_do() -> None:
    rows = _related()
    turned = rows.copy()
    rotation = np.array([[0.0, 2.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 4.0]])
    for a, b in LAYOUT.views(turned[:1]).values():
        a[:] = np.einsum("rs,nlsi->nlri", rotation, a)
        b[:] = np.einsum("rs,nlso->nlro", np.linalg.inv(rotation).T, b)
    one, other = similarity(LAYOUT, rows, DOCUMENTS), similarity(LAYOUT, turned, DOCUMENTS)
    np.testing.assert_allclose(one.energy, other.energy, atol=1e-5)
    assert abs(one.paper_compat["up_proj"] - other.paper_compat["up_proj"]).max() > 0.05


def test_a_shared_start_makes_flattened_factors_alike_and_not_updates() -> None:
    rows = random_rows(LAYOUT, 6, size=0.1)
    start = random_rows(LAYOUT, 1, seed=9, size=1.0)
    for (a, _), (shared, _) in zip(LAYOUT.views(rows).values(), LAYOUT.views(start).values(), strict=True):
        a[:] = shared
    study = similarity(LAYOUT, rows, DOCUMENTS)
    assert study.separations["paper_compat up_proj"].irrelevant.mean > 0.9
    assert abs(study.separations["energy"].irrelevant.mean) < 0.3


def test_a_zero_adapter_is_like_nothing() -> None:
    rows = _related()
    rows[0] = 0
    study = similarity(LAYOUT, rows, DOCUMENTS)
    assert abs(study.energy[0]).max() == 0
    assert study.energy[1, 1] == pytest.approx(1)


def test_study_tells_documents_apart_and_serialises() -> None:
    study = similarity(LAYOUT, _related(), DOCUMENTS, controls=[Control("two seeds", np.array([0.9, 0.8]))])
    found = study.separations["energy"]
    assert (found.relevant_pairs, found.irrelevant_pairs, found.auroc.n) == (4, 11, 3)
    assert found.auroc.mean == 1.0
    assert found.gap.mean == pytest.approx(found.relevant.mean - found.irrelevant.mean)
    assert {(entry.module, entry.layer) for entry in study.layers} == {
        (name, layer) for name in ("gate_proj", "up_proj", "down_proj") for layer in (1, 3)
    }
    data = json.loads(json.dumps(study.to_json(), allow_nan=False))
    assert data["controls"]["two seeds"] == {"mean": pytest.approx(0.85), "n": 2}
    assert len(data["densities"]["cosine"]) == len(data["densities"]["relevant"])


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_auroc_is_mann_whitneys_also_with_ties(positive: list[int], negative: list[int]) -> None:
    found = auroc(np.array(positive, float), np.array(negative, float))
    wanted = mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))
    assert found == pytest.approx(float(wanted))
    assert auroc(np.array(negative, float), np.array(positive, float)) == pytest.approx(1 - found)


def test_cohens_d_and_density() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 2, 40), rng.normal(0, 1, 60)
    pooled = math.sqrt((39 * one.var(ddof=1) + 59 * other.var(ddof=1)) / 98)
    assert cohens_d(one, other) == pytest.approx((one.mean() - other.mean()) / pooled)
    grid = np.linspace(-5, 8, 50)
    np.testing.assert_allclose(density(one, grid), gaussian_kde(one)(grid), rtol=1e-9)
    assert cohens_d(np.ones(3), np.ones(4)) == 0
    assert cohens_d(np.ones(3), np.zeros(4)) == math.inf
    assert np.trapezoid(density(np.array([0.5]), np.linspace(0, 1, 1001)), dx=1e-3) == pytest.approx(1, abs=1e-3)


def test_intervals_resample_documents() -> None:
    rng = np.random.default_rng(0)
    documents = [f"d{number // 2}" for number in range(40)]
    values = rng.normal(0, 0.1, (40, 40))
    values = (values + values.T) / 2 + 0.05 * (np.array(documents)[:, None] == np.array(documents)[None])
    found, again = separation(values, documents), separation(values, documents)
    assert found == again
    assert found.auroc.low < found.auroc.mean < found.auroc.high
    assert found.gap.low < 0.05 < found.gap.high
    assert found.auroc.mean == pytest.approx(auroc(*pairs_of(values, documents)))
    assert separation(values, documents, seed=1).gap.mean == found.gap.mean


@pytest.mark.parametrize("documents", [["a"] * 6, list("abcdef")])
def test_pairs_of_one_kind_are_refused(documents: list[str]) -> None:
    with pytest.raises(EvaluationError, match="documents of several passages"):
        similarity(LAYOUT, random_rows(LAYOUT, 6), documents)


def test_cosines_of_a_gram_matrix() -> None:
    vectors = np.random.default_rng(1).standard_normal((5, 9))
    wanted = [[_cosine(one, other) for other in vectors] for one in vectors]
    np.testing.assert_allclose(cosines(vectors @ vectors.T), wanted, atol=1e-12)
