"""Values by layer, question by question, and how sure their means are.

Shapes: n questions, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import EvaluationError
from ..evaluate.statistics import Estimate, bootstrap_mean


@dataclass(frozen=True)
class Curve:
    """One quantity by layer over questions."""

    values: np.ndarray
    """float64 [n, L]; the same question in the same row of every curve of a study."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise EvaluationError(f"a curve has values {self.values.shape}; expected [questions, layers], not empty")

    def __sub__(self, other: Curve) -> Curve:
        """Returns the paired differences."""
        if self.values.shape != other.values.shape:
            raise EvaluationError(
                f"curves of {self.values.shape} and {other.values.shape} questions and layers are not paired"
            )
        return Curve(self.values - other.values)

    def estimates(self, seed: int = 0) -> list[Estimate]:
        """Returns the mean of every layer with its bootstrap interval over questions."""
        return [bootstrap_mean(column.tolist(), seed=seed) for column in self.values.T]

    def mean(self, layers: Sequence[int] | None = None, seed: int = 0) -> Estimate:
        """Returns the mean over layers, all or some, with its interval over questions."""
        chosen = self.values if layers is None else self.values[:, list(layers)]
        return bootstrap_mean(chosen.mean(1).tolist(), seed=seed)

    def to_json(self) -> dict[str, Any]:
        """Returns the mean over all layers, and that of each, with intervals."""
        return {"mean": asdict(self.mean()), "layers": [asdict(estimate) for estimate in self.estimates()]}


def last_quarter(layer_count: int) -> range:
    """Returns the deepest quarter of the layers, at least one."""
    return range(layer_count - max(1, layer_count // 4), layer_count)
