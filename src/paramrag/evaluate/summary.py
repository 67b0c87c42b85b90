"""Samples -> means with intervals, and how well retrieval found the gold passages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .metrics import Metric
from .questions import Question
from .samples import Sample
from .statistics import Estimate, bootstrap_mean, wilson


@dataclass(frozen=True, slots=True)
class ModeSummary:
    """How one mode did."""

    n: int
    """Questions asked, failures included."""
    failed: int
    """Questions without an answer; they score as an empty prediction."""
    metrics: Mapping[str, Estimate | None]
    """Estimate by metric, over the questions for which it is defined; None where that is none."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run found."""

    modes: Mapping[str, ModeSummary]
    """By mode, in the order asked."""
    retrieval: Mapping[str, float]
    """`hit@1`, `hit@3` and `recall@k` in [0, 1], `k` (the most hits a question got), and `n` (questions with gold
    passages); only `n` = 0 if nothing was retrieved or nothing is gold."""
    samples: Mapping[str, Sequence[Sample]]
    """By mode, in the order of the questions."""

    def to_json(self) -> dict[str, Any]:
        """Returns the stable `summary.json` object (see docs/architecture.md)."""
        modes: dict[str, Any] = {}
        for mode, found in self.modes.items():
            modes[mode] = {"n": found.n, "failed": found.failed}
            modes[mode] |= {name: _estimate_json(estimate) for name, estimate in found.metrics.items()}
        return {"modes": modes, "retrieval": dict(self.retrieval)}


def summarise(
    samples: Mapping[str, Sequence[Sample]], questions: Sequence[Question], metrics: Iterable[Metric], *, seed: int = 0
) -> Summary:
    """Returns the summary of a run; `seed` decides the bootstrap resamples."""
    metrics = tuple(metrics)
    modes = {}
    for mode, found in samples.items():
        estimates = {entry.name: _estimate(entry, found, seed) for entry in metrics}
        modes[mode] = ModeSummary(len(found), sum(sample.error is not None for sample in found), estimates)
    return Summary(modes, retrieval_of(samples, questions), samples)


def retrieval_of(samples: Mapping[str, Sequence[Sample]], questions: Sequence[Question]) -> dict[str, float]:
    """Returns hit@1, hit@3 and recall@k over the questions that have gold passages.

    Taken from the mode that retrieved for the most questions, since modes share a retriever; a question without a hit
    is a miss. hit@3 is left out where fewer than three passages were retrieved.
    """
    wanted = {question.id: len(question.gold_ids) for question in questions if question.gold_ids}
    retrieved = max(samples.values(), key=lambda found: sum(bool(sample.hits) for sample in found), default=[])
    judged = [([hit["gold"] for hit in sample.hits], wanted[sample.id]) for sample in retrieved if sample.id in wanted]
    k = max((len(golds) for golds, _ in judged), default=0)
    if not k:
        return {"n": 0}

    def hit(at: int) -> float:
        return sum(any(golds[:at]) for golds, _ in judged) / len(judged)

    recall = sum(len(set(golds) - {None}) / count for golds, count in judged) / len(judged)
    return {
        "hit@1": hit(1),
        **({"hit@3": hit(3)} if k >= 3 else {}),
        f"recall@{k}": recall,
        "k": k,
        "n": len(judged),
    }


def _estimate(metric: Metric, samples: Sequence[Sample], seed: int) -> Estimate | None:
    values = [value for sample in samples if (value := sample.metrics.get(metric.name)) is not None]
    if not values:
        return None
    return wilson(values) if metric.binary else bootstrap_mean(values, seed=seed)


def _estimate_json(estimate: Estimate | None) -> dict[str, Any]:
    if estimate is None:
        return {"mean": None, "ci95": None, "n": 0}
    return {
        "mean": round(estimate.mean, 6),
        "ci95": [round(estimate.low, 6), round(estimate.high, 6)],
        "n": estimate.n,
    }
