"""Both answers of a conflict at every scale: scale 0 is the mode without adapters, scale 1 the mode itself."""

from __future__ import annotations

import json

import pytest

from paramrag.analyze.forcing import Forced
from paramrag.analyze.override import SCALES, override
from paramrag.errors import EvaluationError
from paramrag.evaluate.questions import Question
from paramrag.models import answer_ids

from .conftest import Pipelines


def test_scales_are_those_of_the_injection(pipeline: Pipelines, questions: list[Question]) -> None:
    modes = {mode: pipeline(mode) for mode in ("p-rag", "pt-rag")}
    found = override(modes, [*questions, Question("none", "Who?", ("x",))])
    assert (found.n, found.left_out, found.scales) == (3, 1, SCALES)
    for mode, without in (("p-rag", "vanilla"), ("pt-rag", "t-rag")):
        base = modes[mode].engine.base
        for scale, name in ((0.0, without), (1.0, mode)):
            at = SCALES.index(scale)
            for row, question in enumerate(questions):
                request, _ = pipeline(name).request(question.question)
                forced = Forced(base, request.prompt_ids, [request.injection])
                sums = []
                for side in ("counterfactual", "original"):
                    log_probs = forced.log_probs(answer_ids(base.tokenizer, question.metadata[side][0]))[0]
                    assert getattr(found.modes[mode], side)[row, at] == pytest.approx(float(log_probs.mean()), abs=1e-4)
                    sums.append(float(log_probs.sum()))
                assert found.modes[mode].preferred[row, at] == float(sums[0] > sums[1])
    assert abs(found.modes["p-rag"].original[:, 0] - found.modes["p-rag"].original[:, -1]).max() > 1e-3
    json.dumps(found.to_json(), allow_nan=False)


def test_a_set_without_conflicts_is_refused(pipeline: Pipelines) -> None:
    with pytest.raises(EvaluationError, match="conflict_answer"):
        override({"p-rag": pipeline("p-rag")}, [Question("none", "Who?", ("x",))])
