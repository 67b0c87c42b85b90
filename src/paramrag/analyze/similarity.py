"""How alike adapters are: cosines of their updates, from the factors, without making a single update.

For updates dW = s B^T A the Frobenius product is <dW_i, dW_j> = s^2 sum((A_i A_j^T) * (B_i B_j^T)), with r x r matrices
on the right: the cost is that of the factors. It does not depend on how an update is factored, as the cosine of the
flattened factors does; that one, which arXiv 2510.12668 plots, is given as `paper_compat`. Adapters that start from
the same A are alike in it before they have learnt anything.

Shapes: N and M adapters, L layers, r rank, I and O widths of a projection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import EvaluationError
from ..store.layout import AdapterLayout
from .separation import Separation, auroc, density, pairs_of, separation

_ROWS = 256  # adapters compared with all others at a time: bounds the memory of the r x r blocks


class Products(NamedTuple):
    """Frobenius products of one module of one layer."""

    module: str
    """`gate_proj`, `up_proj` or `down_proj`."""
    layer: int
    """Layer of the base model."""
    updates: np.ndarray
    """Of the updates, float64 [N, M]."""
    factors: np.ndarray
    """Of the flattened A and B together, float64 [N, M]."""


def products(layout: AdapterLayout, rows: np.ndarray, others: np.ndarray | None = None) -> Iterator[Products]:
    """Yields the products of every pair of adapters, module by module and layer by layer.

    Args:
        rows: float32 [N, P].
        others: float32 [M, P]; None compares the rows with each other.
    """
    others = rows if others is None else others
    left, right = layout.views(rows), layout.views(others)
    for module in layout.modules:
        for position, layer in enumerate(layout.layers):
            updates = np.empty((len(rows), len(others)))
            factors = np.empty((len(rows), len(others)))
            (a, b), (other_a, other_b) = (
                tuple(factor[:, position].astype(np.float64) for factor in side[module.name]) for side in (left, right)
            )
            for start in range(0, len(rows), _ROWS):
                part = slice(start, start + _ROWS)
                a_nrms = np.tensordot(a[part], other_a, (2, 2))
                b_nrms = np.tensordot(b[part], other_b, (2, 2))
                updates[part] = layout.scale**2 * np.einsum("nrms,nrms->nm", a_nrms, b_nrms)
                factors[part] = np.einsum("nrmr->nm", a_nrms) + np.einsum("nrmr->nm", b_nrms)
            yield Products(module.name, layer, updates, factors)


def cosines(products_NN: np.ndarray) -> np.ndarray:
    """Returns products of vectors with each other [N, N] as cosines; 0 where a vector is zero."""
    norms = np.sqrt(np.maximum(np.diagonal(products_NN), 0))
    both = norms[:, None] * norms[None]
    found: np.ndarray = np.divide(products_NN, both, out=np.zeros_like(both), where=both > 0)
    return found


def whole_cosines(layout: AdapterLayout, rows: np.ndarray) -> np.ndarray:
    """Returns the cosine of every pair of whole updates, every layer and module by its energy, float64 [N, N]."""
    return cosines(np.asarray(sum(entry.updates for entry in products(layout, rows))))


def cross_cosines(layout: AdapterLayout, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the cosine of row n's whole update with that of `others[n]`, float64 [N]: pairs of the same passage.

    All layers and modules count by their energy.
    """
    if len(rows) != len(others):
        raise EvaluationError(f"{len(rows)} adapters against {len(others)}; expected as many, pair by pair")
    found = []
    for row, other in zip(rows, others, strict=True):
        found.append(whole_cosines(layout, np.stack([row, other]))[0, 1])
    return np.array(found)


@dataclass(frozen=True, slots=True)
class LayerSimilarity:
    """One module of one layer."""

    module: str
    layer: int
    relevant: float
    """Mean cosine of updates of the same document."""
    irrelevant: float
    """Mean cosine of updates of different documents."""
    auroc: float
    """Probability that a pair of the first kind has the higher cosine."""


@dataclass(frozen=True, slots=True)
class Control:
    """Cosines to hold the others against."""

    name: str
    """`two seeds` (a ceiling) or `shuffled text` (a floor)."""
    values: np.ndarray
    """float64, one per pair."""


@dataclass(frozen=True)
class SimilarityStudy:
    """Adapters compared pair by pair; a pair is relevant if both are of one document."""

    energy: np.ndarray
    """Cosine of the whole updates, every layer and module by its energy, float64 [N, N]."""
    modules: Mapping[str, np.ndarray]
    """Module -> cosine of updates, mean over layers, float64 [N, N]."""
    paper_compat: Mapping[str, np.ndarray]
    """Module -> cosine of flattened factors, mean over layers, float64 [N, N]."""
    layers: tuple[LayerSimilarity, ...]
    """Every module of every layer."""
    documents: tuple[str, ...]
    """Document of each adapter [N]."""
    separations: Mapping[str, Separation]
    """`energy`, each module, and `paper_compat MODULE` -> relevant against irrelevant."""
    controls: tuple[Control, ...] = ()
    """Ceilings and floors, where they were trained."""

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the matrices; of those, densities."""
        relevant, irrelevant = pairs_of(self.energy, self.documents)
        grid = np.linspace(min(-0.1, float(self.energy.min())), 1, 111)
        return {
            "n": len(self.documents),
            "documents": len(set(self.documents)),
            "separation": {name: found.to_json() for name, found in self.separations.items()},
            "layers": [asdict(entry) for entry in self.layers],
            "controls": {
                control.name: {"mean": float(control.values.mean()), "n": len(control.values)}
                for control in self.controls
            },
            "densities": {
                "cosine": grid.tolist(),
                "relevant": density(relevant, grid).tolist(),
                "irrelevant": density(irrelevant, grid).tolist(),
            },
        }


def similarity(
    layout: AdapterLayout,
    rows: np.ndarray,
    documents: Sequence[str],
    *,
    controls: Sequence[Control] = (),
    seed: int = 0,
) -> SimilarityStudy:
    """Compares adapters pair by pair.

    Args:
        rows: float32 [N, P].
        documents: the document of each.
        controls: cosines of other pairs to show beside.
        seed: of the bootstrap, which resamples documents, since pairs share adapters.

    Raises:
        EvaluationError: fewer than two documents, or none with two adapters.
    """
    if len(rows) != len(documents):
        raise EvaluationError(f"{len(rows)} adapters and {len(documents)} documents; expected one document for each")
    count = len(rows)
    total = np.zeros((count, count))
    modules = {module.name: np.zeros((count, count)) for module in layout.modules}
    flat = {module.name: np.zeros((count, count)) for module in layout.modules}
    layers = []
    for entry in products(layout, rows):
        total += entry.updates
        cosine = cosines(entry.updates)
        modules[entry.module] += cosine / len(layout.layers)
        flat[entry.module] += cosines(entry.factors) / len(layout.layers)
        relevant, irrelevant = pairs_of(cosine, documents)
        layers.append(
            LayerSimilarity(
                entry.module,
                entry.layer,
                float(relevant.mean()),
                float(irrelevant.mean()),
                auroc(relevant, irrelevant),
            )
        )
    energy = cosines(total)
    named = {"energy": energy, **modules, **{f"paper_compat {name}": values for name, values in flat.items()}}
    return SimilarityStudy(
        energy=energy,
        modules=modules,
        paper_compat=flat,
        layers=tuple(layers),
        documents=tuple(documents),
        separations={name: separation(values, documents, seed=seed) for name, values in named.items()},
        controls=tuple(controls),
    )
