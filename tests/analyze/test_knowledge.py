"""Knowledge over questions and modes: paired, with intervals, on the responses that were asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paramrag import Engine
from paramrag.analyze.curves import Curve, last_quarter
from paramrag.analyze.knowledge import knowledge
from paramrag.analyze.pks import pks
from paramrag.analyze.responses import cases
from paramrag.errors import ConfigError, EvaluationError
from paramrag.evaluate.questions import Question
from paramrag.evaluate.statistics import paired_difference
from paramrag.models import answer_ids
from paramrag.modes import modes_with

from .conftest import Pipelines

MODES = modes_with("static", apart=False)


def test_values_are_the_means_of_the_score_by_question(pipeline: Pipelines, questions: list[Question]) -> None:
    pipelines = {mode: pipeline(mode) for mode in modes_with("static", apart=False)}
    found = knowledge(pipelines, questions, response="gold", ecs=True)
    base = pipelines["vanilla"].engine.base
    for mode, each in pipelines.items():
        for row, question in enumerate(questions):
            request, _ = each.request(question.question)
            wanted = pks(base, request.prompt_ids, answer_ids(base.tokenizer, question.answers[0]), request.injection)
            np.testing.assert_allclose(found.pks[mode].values[row], wanted.jsd.mean(-1), atol=1e-6)
            np.testing.assert_allclose(found.redeep_compat[mode].values[row], wanted.redeep_compat.mean(-1), atol=1e-5)
    assert set(found.changed) == {"p-rag", "pt-rag"}
    assert all(curve.values[:, 0].max() < 1e-6 < curve.values[:, 1:].min() for curve in found.changed.values())
    assert set(found.ecs) == set(modes_with("static", apart=False))
    assert (found.n, found.left_out) == (3, 0)


def test_differences_are_paired(pipeline: Pipelines, questions: list[Question]) -> None:
    found = knowledge({mode: pipeline(mode) for mode in modes_with("static", apart=False)}, questions, response="gold")
    difference = found.differences()
    assert list(difference) == ["p-rag - vanilla", "pt-rag - t-rag"]
    first, other = found.pks["p-rag"].values[:, 2], found.pks["vanilla"].values[:, 2]
    assert difference["p-rag - vanilla"].estimates()[2] == paired_difference(other.tolist(), first.tolist())
    # layers below the first adapted one cannot differ
    assert abs(difference["pt-rag - t-rag"].values[:, 0]).max() < 1e-6


def test_responses(pipeline: Pipelines, questions: list[Question], engine: Engine) -> None:
    pipelines = {mode: pipeline(mode) for mode in ("t-rag", "pt-rag")}
    own, one = cases(pipelines, questions, "own"), cases(pipelines, questions, "t-rag")
    for at, question in enumerate(questions):
        for mode in pipelines:
            request, _ = pipelines[mode].request(question.question)
            assert own.modes[mode][at].response_ids == engine.generate([request])[0].token_ids
        assert one.modes["pt-rag"][at].response_ids == own.modes["t-rag"][at].response_ids
    assert own.modes["t-rag"][0].response_ids != own.modes["pt-rag"][0].response_ids


def test_a_question_without_response_is_left_out_of_all_modes(pipeline: Pipelines, questions: list[Question]) -> None:
    pipelines = {mode: pipeline(mode) for mode in ("t-rag", "pt-rag")}
    found = knowledge(pipelines, [Question("none", "Which mill?", ()), *questions], response="gold")
    assert (found.n, found.left_out) == (3, 1)
    assert {curve.values.shape for curve in found.pks.values()} == {(3, 4)}
    with pytest.raises(EvaluationError, match="none of 1 questions"):
        knowledge(pipelines, [Question("none", "Which mill?", ())], response="gold")
    with pytest.raises(ConfigError, match="expected own, gold, or one of the"):
        knowledge(pipelines, questions, response="golden")


def test_json_is_finite_and_complete(pipeline: Pipelines, questions: list[Question]) -> None:
    steps: list[tuple[str, int, int | None]] = []
    found = knowledge({"p-rag": pipeline("p-rag")}, questions, progress=lambda *step: steps.append(step))
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["differences"] == {}
    assert len(data["pks"]["p-rag"]["layers"]) == 4
    assert set(data["pks"]["p-rag"]["layers"][0]) == {"mean", "low", "high", "n"}
    assert 0 < data["pks"]["p-rag"]["mean"]["mean"] <= np.log(2)
    assert steps[-1] == ("analyze", 3, 3)


def test_curves_must_be_paired() -> None:
    with pytest.raises(EvaluationError, match="not paired"):
        Curve(np.zeros((2, 3))) - Curve(np.zeros((3, 3)))
    with pytest.raises(EvaluationError, match="not empty"):
        Curve(np.zeros((0, 3)))
    assert list(last_quarter(30)) == list(range(23, 30))
    assert list(last_quarter(2)) == [1]
