"""Whom does the model believe, and how much injection does it take? Two answers' log-probability by injection scale.

For a question whose passages contradict what the model has learnt, the answer the passages give (`counterfactual`) and
the one they contradict (`original`) are forced after the prompt, at every scale of the injection. Scale 0 is the mode
without adapters: `vanilla` where no text is in the prompt, `t-rag` where it is.

Shapes: n questions, S scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..aggregate import scaled
from ..errors import EvaluationError
from ..evaluate.questions import Question
from ..evaluate.statistics import Estimate, bootstrap_mean, wilson
from ..models import answer_ids
from ..pipeline import Pipeline
from ..types import Injection, Progress
from .forcing import Forced

SCALES = tuple(step / 4 for step in range(9))
"""0 to 2 in quarters; 1 is the injection as it is."""


@dataclass(frozen=True, slots=True)
class Override:
    """One mode over all scales; log-probabilities are means per token, so that length counts for neither answer."""

    counterfactual: np.ndarray
    """Of the answer the passages give, nats per token, float64 [n, S]."""
    original: np.ndarray
    """Of the answer they contradict, nats per token, float64 [n, S]."""
    preferred: np.ndarray
    """Whether the whole counterfactual answer is likelier than the whole original one, 0 or 1, float64 [n, S]."""

    def estimates(self, name: str) -> list[Estimate]:
        """Returns the mean of one of the fields at every scale, with its interval over questions."""
        interval = wilson if name == "preferred" else bootstrap_mean
        return [interval(column.tolist()) for column in getattr(self, name).T]


@dataclass(frozen=True, slots=True)
class OverrideStudy:
    """How scale trades one answer for the other, mode by mode."""

    scales: tuple[float, ...]
    """Of the injection."""
    modes: Mapping[str, Override]
    """Mode -> what it does at every scale."""
    n: int
    """Questions."""
    left_out: int
    """Questions that say nothing of a conflict."""

    def to_json(self) -> dict[str, Any]:
        """Returns means with intervals."""
        return {
            "scales": list(self.scales),
            "n": self.n,
            "left_out": self.left_out,
            "unit": "nats per token",
            "modes": {
                mode: {
                    name: [asdict(estimate) for estimate in found.estimates(name)]
                    for name in ("counterfactual", "original", "preferred")
                }
                for mode, found in self.modes.items()
            },
        }


def override(
    pipelines: Mapping[str, Pipeline],
    questions: Sequence[Question],
    *,
    scales: Sequence[float] = SCALES,
    progress: Progress | None = None,
) -> OverrideStudy:
    """Measures both answers of every conflict question at every scale.

    Args:
        pipelines: mode -> pipeline that injects.
        questions: with `counterfactual` and `original` answers; the first of each is scored. Others are left out.
        scales: of the injection, any numbers.
        progress: called as ("analyze", runs done, runs).

    Raises:
        EvaluationError: no scale, or no question with a conflict.
        NotFoundError: an adapter is missing.
    """
    asked = [question for question in questions if _sides(question)]
    if not asked or not scales:
        raise EvaluationError(
            f"{len(asked)} of {len(questions)} questions have a counterfactual and an original answer, for "
            f"{len(scales)} scales; expected at least one of each: give a conflict set, with `conflict_answer`"
        )
    found: dict[str, Override] = {}
    done = 0
    for mode, pipeline in pipelines.items():
        base = pipeline.engine.base
        per_token = np.empty((2, len(asked), len(scales)))
        whole = np.empty_like(per_token)
        for row, question in enumerate(asked):
            request, _ = pipeline.request(question.question)
            forced = Forced(base, request.prompt_ids, [_scaled(request.injection, scale) for scale in scales])
            for side, answer in enumerate(_sides(question)):
                log_probs_SN = forced.log_probs(answer_ids(base.tokenizer, answer)).double().numpy()
                per_token[side, row], whole[side, row] = log_probs_SN.mean(-1), log_probs_SN.sum(-1)
            done += 1
            if progress:
                progress("analyze", done, len(pipelines) * len(asked))
        found[mode] = Override(per_token[0], per_token[1], (whole[0] > whole[1]).astype(np.float64))
    return OverrideStudy(tuple(scales), found, len(asked), len(questions) - len(asked))


def _sides(question: Question) -> tuple[str, ...]:
    """The counterfactual and the original answer; empty where the question lacks one."""
    sides = tuple(tuple(question.metadata.get(name, ()))[:1] for name in ("counterfactual", "original"))
    return tuple(side[0] for side in sides) if all(sides) else ()


def _scaled(injection: Injection | None, scale: float) -> Injection | None:
    return None if injection is None or scale == 0 else scaled(injection, scale)
