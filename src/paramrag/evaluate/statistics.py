"""How sure a mean is, and whether two runs differ.

n questions, B resamples. Everything is seeded: the same values and seed give the same interval. Knows nothing of
questions or metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ..errors import EvaluationError

RESAMPLES = 10_000
"""Bootstrap resamples B; the usual number for percentile intervals (Efron and Tibshirani 1993)."""
_BLOCK = 1 << 22  # indices drawn at a time: bounds the memory to 32 MiB whatever n is


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % confidence interval."""

    mean: float
    """Mean over n values."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    n: int
    """How many values it is over."""


@dataclass(frozen=True, slots=True)
class McNemar:
    """Exact two-sided McNemar test on paired binary outcomes."""

    only_a: int
    """Questions that only A gets right."""
    only_b: int
    """Questions that only B gets right."""
    p: float
    """Probability of a split at least this uneven if both were equally good."""


def bootstrap_mean(values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Returns the mean with its percentile bootstrap interval (Efron 1979, doi 10.1214/aos/1176344552).

    Raises:
        EvaluationError: no values, or one that is not finite.
    """
    data = _finite(values)
    n = data.size
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _BLOCK // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        means[start : start + rows] = data[rng.integers(0, n, (rows, n))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(data.mean()), float(low), float(high), n)


def wilson(values: Sequence[float]) -> Estimate:
    """Returns the mean of binary values with its Wilson score interval (Wilson 1927, doi 10.2307/2276774).

    Unlike the bootstrap it has a width where all values are equal, and holds for small n.

    Raises:
        EvaluationError: no values, or one that is neither 0 nor 1.
    """
    data = _finite(values)
    if not np.isin(data, (0.0, 1.0)).all():
        raise EvaluationError("a Wilson interval needs values of 0 or 1, got others; use bootstrap_mean")
    n, share = data.size, float(data.mean())
    z = NormalDist().inv_cdf(0.975)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and 1 the ends are exact; rounding must not push them past the mean.
    low, high = min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
    return Estimate(share, low, high, n)


def paired_difference(a: Sequence[float], b: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Returns the mean of b - a with its bootstrap interval over questions; a[i] and b[i] are the same question.

    Raises:
        EvaluationError: the sequences differ in length, are empty, or hold a value that is not finite.
    """
    if len(a) != len(b):
        raise EvaluationError(f"paired values must be of equal number, got {len(a)} and {len(b)}; align them by id")
    return bootstrap_mean(list(_finite(b) - _finite(a)), seed=seed, resamples=resamples)


def mcnemar(a: Sequence[float], b: Sequence[float]) -> McNemar:
    """Returns the exact McNemar test (binomial on the discordant pairs; McNemar 1947, doi 10.1007/BF02295996).

    Raises:
        EvaluationError: the sequences differ in length, or hold a value that is neither 0 nor 1.
    """
    if len(a) != len(b):
        raise EvaluationError(f"paired values must be of equal number, got {len(a)} and {len(b)}; align them by id")
    if any(value not in (0.0, 1.0) for value in (*a, *b)):
        raise EvaluationError("McNemar's test needs values of 0 or 1, got others; use paired_difference alone")
    only_a = sum(x > y for x, y in zip(a, b, strict=True))
    only_b = sum(y > x for x, y in zip(a, b, strict=True))
    discordant = only_a + only_b
    # Binomial coefficients, one from the last, as whole numbers: exact for any number of questions.
    tail = ways = 1
    for count in range(min(only_a, only_b)):
        ways = ways * (discordant - count) // (count + 1)
        tail += ways
    return McNemar(only_a, only_b, min(1.0, 2 * tail / 2**discordant))


def _finite(values: Sequence[float]) -> np.ndarray:
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise EvaluationError("no values to take a mean of; expected at least one scored question")
    if not np.isfinite(data).all():
        raise EvaluationError("values must be finite; leave out questions for which the metric is not defined")
    return data
