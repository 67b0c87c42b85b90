"""Two runs, or two modes of one run, on the same questions: is the difference more than chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EvaluationError, did_you_mean
from .metrics import is_binary
from .run_directory import read_run, read_run_samples
from .samples import Sample
from .statistics import Estimate, McNemar, mcnemar, paired_difference


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A on the questions that both answered."""

    metric: str
    """Name of the metric."""
    mode_a: str
    """Mode of A."""
    mode_b: str
    """Mode of B."""
    mean_a: float
    """Mean of A over the common questions."""
    mean_b: float
    """Mean of B over the common questions."""
    difference: Estimate
    """Mean of B - A with its paired bootstrap interval; above 0, B scores higher."""
    mcnemar: McNemar | None
    """Exact test, for a binary metric."""
    left_out: int
    """Questions of either run that the other lacks, or for which the metric is not defined."""
    failed_a: int
    """Common questions that A failed to answer; they score as an empty prediction."""
    failed_b: int
    """Common questions that B failed to answer."""

    def to_json(self) -> dict[str, Any]:
        """Returns the comparison as JSON values."""
        test = self.mcnemar
        return {
            "metric": self.metric,
            "mode_a": self.mode_a,
            "mode_b": self.mode_b,
            "n": self.difference.n,
            "left_out": self.left_out,
            "failed_a": self.failed_a,
            "failed_b": self.failed_b,
            "mean_a": self.mean_a,
            "mean_b": self.mean_b,
            "difference": {"mean": self.difference.mean, "ci95": [self.difference.low, self.difference.high]},
            "mcnemar": {"only_a": test.only_a, "only_b": test.only_b, "p": test.p} if test else None,
        }


def compare(
    run_a: str | Path,
    run_b: str | Path,
    metric: str = "has_answer",
    mode_a: str | None = None,
    mode_b: str | None = None,
    *,
    seed: int = 0,
) -> Comparison:
    """Returns how much better B is than A on their common questions, matched by id.

    A mode may be left out where a run has only one.

    Raises:
        EvaluationError: a directory is no run, lacks the mode or the metric, or the two share no question.
    """
    mode_a, samples_a = _samples(run_a, mode_a)
    mode_b, samples_b = _samples(run_b, mode_b)
    common = [sample_id for sample_id in samples_a if sample_id in samples_b]
    if not common:
        raise EvaluationError(
            f"{str(run_a)!r} ({mode_a}) and {str(run_b)!r} ({mode_b}) have no question id in common; "
            "compare runs on the same data set"
        )
    for sample_id in common:
        a, b = samples_a[sample_id], samples_b[sample_id]
        if (a.question, a.answers) != (b.question, b.answers):
            raise EvaluationError(
                f"question {sample_id!r} is {a.question!r} in {str(run_a)!r} and {b.question!r} in {str(run_b)!r}, "
                "or its answers differ; compare runs on the same data set"
            )
    scores_a, scores_b = _scores(run_a, samples_a, common, metric), _scores(run_b, samples_b, common, metric)
    both = [sample_id for sample_id in common if scores_a[sample_id] is not None and scores_b[sample_id] is not None]
    if not both:
        raise EvaluationError(
            f"metric {metric!r} is defined for none of the {len(common)} common questions; use another"
        )
    a_values, b_values = [scores_a[i] or 0.0 for i in both], [scores_b[i] or 0.0 for i in both]
    return Comparison(
        metric=metric,
        mode_a=mode_a,
        mode_b=mode_b,
        mean_a=sum(a_values) / len(both),
        mean_b=sum(b_values) / len(both),
        difference=paired_difference(a_values, b_values, seed=seed),
        mcnemar=mcnemar(a_values, b_values) if is_binary(metric) else None,
        left_out=len(samples_a.keys() | samples_b.keys()) - len(both),
        failed_a=sum(samples_a[sample_id].error is not None for sample_id in common),
        failed_b=sum(samples_b[sample_id].error is not None for sample_id in common),
    )


def _samples(run: str | Path, mode: str | None) -> tuple[str, dict[str, Sample]]:
    read_run(run)
    modes = read_run_samples(run)
    if not modes:
        raise EvaluationError(f"run {str(run)!r} has no samples yet; evaluate first")
    if mode is None:
        if len(modes) > 1:
            raise EvaluationError(f"run {str(run)!r} has the modes {', '.join(modes)}; say which one to compare")
        mode = next(iter(modes))
    if mode not in modes:
        raise EvaluationError(f"run {str(run)!r} has no mode {mode!r}: {did_you_mean(mode, modes)}")
    return mode, {sample.id: sample for sample in modes[mode]}


def _scores(run: str | Path, samples: Mapping[str, Sample], ids: Sequence[str], metric: str) -> dict[str, float | None]:
    for sample_id in ids:
        if metric not in samples[sample_id].metrics:
            known = did_you_mean(metric, samples[sample_id].metrics)
            raise EvaluationError(f"run {str(run)!r} has no scores of metric {metric!r}: {known}")
    return {sample_id: samples[sample_id].metrics[metric] for sample_id in ids}
