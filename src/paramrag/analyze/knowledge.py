"""Parametric knowledge by layer over questions and modes, and what an injection adds to it.

Knows the modes' pipelines and questions; the score itself is in `pks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..evaluate.questions import Question
from ..evaluate.statistics import Estimate, bootstrap_mean
from ..models import BaseModel
from ..pipeline import Pipeline
from ..types import Progress
from .curves import Curve, last_quarter
from .ecs import external_context
from .pks import Divergences, pks, pks_and_change
from .responses import OWN, Case, cases

CONTRASTS = (("p-rag", "vanilla"), ("pt-rag", "t-rag"))
"""Modes that differ in the injection alone: the first less the second is what it adds."""


@dataclass(frozen=True, slots=True)
class KnowledgeStudy:
    """Scores by layer, per question the mean over its response tokens."""

    response: str
    """Which response ran: `own`, `gold`, or a mode's name."""
    pks: Mapping[str, Curve]
    """Mode -> parametric knowledge score, nats in [0, ln 2]."""
    redeep_compat: Mapping[str, Curve]
    """Mode -> what ReDeEP's code computes, nats, unbounded."""
    changed: Mapping[str, Curve]
    """Mode with an injection -> divergence of each layer's output without and with it, at equal input, nats."""
    ecs: Mapping[str, Curve]
    """Mode -> external context score, mean over heads, a cosine; empty unless asked for."""
    tokens: Mapping[str, Estimate]
    """Mode -> length of the response."""
    n: int
    """Questions."""
    left_out: int
    """Questions left out since a mode had no response to run."""

    def differences(self) -> dict[str, Curve]:
        """Returns what the injection adds to the score, for every pair of modes that differ in it alone."""
        pairs = [pair for pair in CONTRASTS if set(pair) <= set(self.pks)]
        return {f"{one} - {other}": self.pks[one] - self.pks[other] for one, other in pairs}

    def to_json(self) -> dict[str, Any]:
        """Returns means and 95 % intervals, per layer and over layers."""
        groups = {
            "pks": self.pks,
            "redeep_compat": self.redeep_compat,
            "differences": self.differences(),
            "changed": self.changed,
            "ecs": self.ecs,
        }
        layers = next(iter(self.pks.values())).values.shape[1]
        return {
            "response": self.response,
            "n": self.n,
            "left_out": self.left_out,
            "unit": "nats",
            "last_quarter": list(last_quarter(layers)),
            "tokens": {mode: asdict(estimate) for mode, estimate in self.tokens.items()},
            **{
                name: {
                    key: {**curve.to_json(), "last_quarter_mean": asdict(curve.mean(last_quarter(layers)))}
                    for key, curve in curves.items()
                }
                for name, curves in groups.items()
            },
        }


def knowledge(
    pipelines: Mapping[str, Pipeline],
    questions: Sequence[Question],
    *,
    response: str = OWN,
    ecs: bool = False,
    progress: Progress | None = None,
) -> KnowledgeStudy:
    """Measures parametric knowledge by layer.

    Args:
        pipelines: mode -> pipeline, all with the same engine.
        questions: each is one sample.
        response: `own`, `gold`, or a mode's name; see `responses.cases`.
        ecs: also the external context score, which needs the attention weights and takes as long again.
        progress: called as ("analyze", cases done, cases).

    Raises:
        ConfigError: an unknown response.
        EvaluationError: no question is left.
        NotFoundError: an adapter is missing.
    """
    base = next(iter(pipelines.values())).engine.base
    found = cases(pipelines, questions, response)
    total = sum(map(len, found.modes.values()))
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if progress:
            progress("analyze", done, total)

    scores: dict[str, list[Divergences]] = {mode: [] for mode in pipelines}
    changes: dict[str, list[np.ndarray]] = {mode: [] for mode in pipelines}
    context: dict[str, list[np.ndarray]] = {mode: [] for mode in pipelines if ecs}
    for mode, entries in found.modes.items():
        for case in entries:
            if case.request.injection is None:
                scores[mode].append(_run(pks, base, case))
            else:
                score, changed = _run(pks_and_change, base, case)
                scores[mode].append(score)
                changes[mode].append(changed.jsd.mean(-1))
            if ecs:
                heads = _run(external_context, base, case)
                context[mode].append(heads.mean((1, 2)))
            count()
    return KnowledgeStudy(
        response=response,
        pks={mode: Curve(np.array([one.jsd.mean(-1) for one in all_])) for mode, all_ in scores.items()},
        redeep_compat={
            mode: Curve(np.array([one.redeep_compat.mean(-1) for one in all_])) for mode, all_ in scores.items()
        },
        changed={mode: Curve(np.array(all_)) for mode, all_ in changes.items() if all_},
        ecs={mode: Curve(np.array(all_)) for mode, all_ in context.items()},
        tokens={
            mode: bootstrap_mean([float(len(case.response_ids)) for case in entries])
            for mode, entries in found.modes.items()
        },
        n=len(questions) - found.left_out,
        left_out=found.left_out,
    )


def _run(measure: Callable[..., Any], base: BaseModel, case: Case) -> Any:
    return measure(base, case.request.prompt_ids, case.response_ids, case.request.injection)
