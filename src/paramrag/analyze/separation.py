"""Two kinds of pairs: do pairs of one document differ from pairs of two?

Intervals come from resampling documents: pairs share adapters, and adapters documents, so pairs are not independent.

Shapes: N adapters, n pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import EvaluationError
from ..evaluate.statistics import Estimate

RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Separation:
    """Relevant pairs (one document) against irrelevant ones (two documents)."""

    relevant: Estimate
    """Mean of the relevant pairs; `n` counts documents, here and below."""
    irrelevant: Estimate
    """Mean of the irrelevant pairs."""
    gap: Estimate
    """The first less the second."""
    auroc: Estimate
    """Probability that a relevant pair has the higher value, ties half."""
    cohens_d: Estimate
    """Gap in pooled standard deviations; 0 where there is no spread and no gap, infinite where there is only a gap."""
    relevant_pairs: int
    """How many pairs are of one document."""
    irrelevant_pairs: int
    """How many are of two."""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields; numbers that are not finite as null."""
        return {
            name: {key: _finite(number) for key, number in value.items()} if isinstance(value, dict) else value
            for name, value in asdict(self).items()
        }


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Returns the probability that a positive value exceeds a negative one, ties half: Mann-Whitney's U / (n m)."""
    values = np.concatenate([positive, negative])
    kinds = np.arange(len(values)) < len(positive)
    return _auroc(np.unique(values, return_inverse=True)[1], kinds.astype(float), (~kinds).astype(float))


def cohens_d(positive: np.ndarray, negative: np.ndarray) -> float:
    """Returns the difference of means in pooled standard deviations (Cohen 1988)."""
    values = np.concatenate([positive, negative])
    kinds = np.arange(len(values)) < len(positive)
    return _moments(values, kinds.astype(float), (~kinds).astype(float))[2]


def density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Returns a Gaussian kernel density estimate on a grid, with Scott's bandwidth n^(-1/5) sigma.

    Values without spread get a bandwidth of a hundredth of the grid.
    """
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    width = spread * len(values) ** -0.2 or float(grid[-1] - grid[0]) / 100
    found = np.zeros_like(grid, dtype=np.float64)
    for value in values:
        found += np.exp(-(((grid - value) / width) ** 2) / 2)
    return found / (len(values) * width * math.sqrt(2 * math.pi))


def pairs_of(values_NN: np.ndarray, documents: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values of relevant and of irrelevant pairs, each pair once.

    Raises:
        EvaluationError: there are none of one kind.
    """
    first, second = np.triu_indices(len(documents), 1)
    names = np.unique(np.asarray(documents), return_inverse=True)[1]
    same = names[first] == names[second]
    if not same.any() or same.all():
        raise EvaluationError(
            f"{len(documents)} adapters of {len(set(documents))} documents have {int(same.sum())} pairs of one "
            f"document and {int((~same).sum())} of two; expected some of each: take documents of several passages"
        )
    values = values_NN[first, second]
    return values[same], values[~same]


def separation(
    values_NN: np.ndarray, documents: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> Separation:
    """Compares relevant with irrelevant pairs.

    A resample draws documents with replacement; a pair counts as often as its documents were drawn (one document: that
    often, two: the product).

    Raises:
        EvaluationError: there are no pairs of one kind.
    """
    relevant, irrelevant = pairs_of(values_NN, documents)
    values = np.concatenate([relevant, irrelevant])
    ranks = np.unique(values, return_inverse=True)[1]
    names = np.unique(np.asarray(documents), return_inverse=True)[1]
    count = int(names.max()) + 1
    first, second = np.triu_indices(len(documents), 1)
    same = names[first] == names[second]
    order = np.concatenate([np.flatnonzero(same), np.flatnonzero(~same)])
    left, right = names[first][order], names[second][order]
    kinds = np.arange(len(values)) < len(relevant)

    def measure(drawn: np.ndarray) -> list[float]:
        positive = np.where(kinds, drawn[left], 0.0)
        negative = np.where(kinds, 0.0, drawn[left] * drawn[right])
        if not positive.any() or not negative.any():
            return [math.nan] * 5
        high, low, d = _moments(values, positive, negative)
        return [high, low, high - low, _auroc(ranks, positive, negative), d]

    exact = measure(np.ones(count))
    rng = np.random.default_rng(seed)
    draws = [
        measure(np.bincount(rng.integers(0, count, count), minlength=count).astype(float)) for _ in range(resamples)
    ]
    kept = np.array([draw for draw in draws if not math.isnan(draw[0])] or [exact])
    lows, highs = np.quantile(kept, [0.025, 0.975], axis=0, method="nearest")  # d may be infinite: no interpolation
    mean_relevant, mean_irrelevant, gap, area, d = (
        Estimate(value, min(value, float(low)), max(value, float(high)), count)
        for value, low, high in zip(exact, lows, highs, strict=True)
    )
    return Separation(mean_relevant, mean_irrelevant, gap, area, d, len(relevant), len(irrelevant))


def _auroc(ranks: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """AUROC of weighted values; `ranks` numbers the distinct values ascending."""
    high, low = np.bincount(ranks, positive), np.bincount(ranks, negative)
    below = np.cumsum(low) - low
    return float((high * (below + low / 2)).sum() / (high.sum() * low.sum()))


def _moments(values: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> tuple[float, float, float]:
    """Both means and Cohen's d; weights count how often a value is there."""
    means, squares, counts = [], 0.0, 0.0
    for weights in (positive, negative):
        total = weights.sum()
        mean = float((values * weights).sum() / total)
        means.append(mean)
        squares += float((weights * (values - mean) ** 2).sum())
        counts += total
    gap = means[0] - means[1]
    spread = math.sqrt(squares / (counts - 2)) if counts > 2 else 0.0
    if spread:
        return means[0], means[1], gap / spread
    return means[0], means[1], math.copysign(math.inf, gap) if gap else 0.0


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
