"""Is every adapter the same adapter? Geometry first, then the test that counts: another document's adapter.

A hypernetwork may learn to give nearly one and the same update for every document: answers improve through what all
share (the task), and no document is told from another. Works on any adapters, trained or predicted.

Shapes: N adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import EvaluationError
from ..evaluate.metrics import metric
from ..evaluate.questions import Question
from ..evaluate.statistics import Estimate, paired_difference, wilson
from ..modes import weights_alone
from ..pipeline import Pipeline
from ..store.layout import AdapterLayout
from ..types import Hit, Passage
from .gold import gold_index
from .separation import auroc, pairs_of
from .similarity import cosines, products

MAX_COSINE = 0.95
"""Alarm: the mean pairwise cosine is above this."""
MIN_RANK = 2.0
"""Alarm: the effective rank is below this."""
MAX_AUROC = 0.55
"""Alarm: pairs of one document are told from pairs of two hardly better than by chance."""
MIN_SWAP_POINTS = 2.0
"""Alarm: answering with another document's adapter costs fewer points of HasAnswer than this."""

ROUNDING = 1e-9
"""What is left, of an update's own size, where equal ones are taken from each other."""


@dataclass(frozen=True, slots=True)
class SwapTest:
    """HasAnswer with the adapter of the passage that answers, and with one of another document."""

    own: Estimate
    swapped: Estimate
    loss: Estimate
    """The first less the second, paired, as a share in [-1, 1]."""
    left_out: int
    """Questions without a passage that answers, or without another document."""


@dataclass(frozen=True)
class CollapseReport:
    """How much adapters differ from each other."""

    n: int
    """Adapters."""
    mean_cosine: float
    """Mean cosine of whole updates over all pairs."""
    effective_rank: float
    """Participation ratio (sum e)^2 / sum e^2 of the eigenvalues of the updates' Gram matrix; between 1 and n."""
    distance_from_mean: np.ndarray
    """|dW_i - mean| / |dW_i|, float64 [N]: 0 if all are equal."""
    auroc: float | None
    """Relevant against irrelevant pairs; None without pairs of both kinds."""
    auroc_from_mean: float | None
    """The same of the updates less their mean, which tells no pair from another."""
    energies: np.ndarray
    """Eigenvalues as shares of their sum, descending, float64 [N]."""
    cosines: np.ndarray
    """Of all pairs, float64 [N (N - 1) / 2]."""
    swap: SwapTest | None
    """None where no questions were asked."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is beyond its threshold, in words."""
        found = []
        if self.mean_cosine > MAX_COSINE:
            found.append(f"mean pairwise cosine {self.mean_cosine:.3f} is above {MAX_COSINE}")
        if self.effective_rank < MIN_RANK:
            found.append(f"effective rank {self.effective_rank:.2f} of {self.n} adapters is below {MIN_RANK:g}")
        if self.auroc is not None and self.auroc <= MAX_AUROC:
            found.append(f"AUROC {self.auroc:.3f} of one document against two is not above {MAX_AUROC}")
        if self.swap is not None and 100 * self.swap.loss.mean < MIN_SWAP_POINTS:
            found.append(
                f"another document's adapter costs {100 * self.swap.loss.mean:.1f} points of HasAnswer, fewer than "
                f"{MIN_SWAP_POINTS:g}"
            )
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Returns all but the list of cosines."""
        return {
            "n": self.n,
            "mean_cosine": self.mean_cosine,
            "effective_rank": self.effective_rank,
            "distance_from_mean": {
                "mean": float(self.distance_from_mean.mean()),
                "min": float(self.distance_from_mean.min()),
                "max": float(self.distance_from_mean.max()),
            },
            "auroc": self.auroc,
            "auroc_from_mean": self.auroc_from_mean,
            "energies": self.energies.tolist(),
            "swap": asdict(self.swap) if self.swap else None,
            "alarms": list(self.alarms),
        }


def collapse(
    layout: AdapterLayout, rows: np.ndarray, documents: Sequence[str] | None = None, swap: SwapTest | None = None
) -> CollapseReport:
    """Measures how much adapters differ.

    Args:
        rows: float32 [N, P], from whatever parameterizer.
        documents: of each; adds the AUROC.
        swap: what `swap_test` found; adds the functional alarm.

    Raises:
        EvaluationError: fewer than two adapters, or all of them zero.
    """
    if len(rows) < 2:
        raise EvaluationError(f"got {len(rows)} adapters; expected at least 2 to compare")
    gram = np.asarray(sum(entry.updates for entry in products(layout, rows)))
    if not np.trace(gram) > 0:
        raise EvaluationError(f"all {len(rows)} adapters are zero updates; encode the collection again")
    energies = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0)
    cosine = cosines(gram)
    own = np.diagonal(gram)
    centred = gram - gram.mean(1)[:, None] - gram.mean(0) + gram.mean()
    centred[np.abs(centred) < ROUNDING * own.mean()] = 0.0
    from_mean = np.sqrt(np.maximum(np.diagonal(centred), 0))
    whole: float | None = None
    less_mean: float | None = None
    if documents is not None and 1 < len(set(documents)) < len(documents):
        whole, less_mean = (auroc(*pairs_of(found, documents)) for found in (cosine, cosines(centred)))
    return CollapseReport(
        n=len(rows),
        mean_cosine=float(cosine[np.triu_indices(len(rows), 1)].mean()),
        effective_rank=float(energies.sum() ** 2 / (energies**2).sum()),
        distance_from_mean=np.divide(from_mean, np.sqrt(own), out=np.zeros(len(rows)), where=own > 0),
        auroc=whole,
        auroc_from_mean=less_mean,
        energies=energies / energies.sum(),
        cosines=cosine[np.triu_indices(len(rows), 1)],
        swap=swap,
    )


def swap_test(pipeline: Pipeline, questions: Sequence[Question], *, seed: int = 0) -> SwapTest:
    """Answers from the weights alone: with the adapter of the passage that answers, then with one of another document.

    Args:
        pipeline: any; gives collection, engine, recipe and retriever.
        questions: with judged passages of the collection, or with answers that retrieved passages say.

    Raises:
        EvaluationError: no question can be used.
        NotFoundError: an adapter is missing.
    """
    collection, engine, recipe = pipeline.collection, pipeline.engine, pipeline.recipe
    held = sorted(collection.encoded(engine.fingerprint, recipe.id))
    documents = collection.document_of(held)
    by_id = dict(zip(held, collection.passages(held), strict=True))
    rng = np.random.default_rng(seed)
    asked: list[Question] = []
    own: dict[str, Passage] = {}
    swapped: dict[str, Passage] = {}
    for question in questions:
        _, used = pipeline.request(question.question)
        near = [entry.hit.passage for entry in used] + [by_id[key] for key in question.gold_ids if key in by_id]
        near = [passage for passage in near if passage.id in by_id]
        at = gold_index(question, near)
        others = [key for key in held if at is not None and documents[key] != documents[near[at].id]]
        if at is None or not others:
            continue
        asked.append(question)
        own[question.question] = near[at]
        swapped[question.question] = by_id[others[int(rng.integers(len(others)))]]
    if not asked:
        raise EvaluationError(
            f"none of {len(questions)} questions has an encoded passage that answers it and another document to swap "
            "with; give questions about this collection"
        )
    has_answer = metric("has_answer")
    scores = []
    for chosen in (own, swapped):

        def retrieve(query: str, k: int, chosen: dict[str, Passage] = chosen) -> list[Hit]:
            return [Hit(chosen[query], documents[chosen[query].id], 1.0)][:k]

        answers = Pipeline(
            collection, engine, weights_alone(recipe), top_k=1, recipe=recipe, retriever=retrieve, weighting="uniform"
        ).ask_many([question.question for question in asked])
        scores.append(
            [has_answer.score(answer.text, question) for answer, question in zip(answers, asked, strict=True)]
        )
    return SwapTest(
        own=wilson(scores[0]),
        swapped=wilson(scores[1]),
        loss=paired_difference(scores[1], scores[0]),
        left_out=len(questions) - len(asked),
    )
