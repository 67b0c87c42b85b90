"""Parts of an injection: bands cover the depth, and each part does what its restricted injection does."""

from __future__ import annotations

import json

import pytest

from paramrag.aggregate import restrict
from paramrag.analyze.forcing import Forced
from paramrag.analyze.layers import Part, bands, layer_effects, parts_of
from paramrag.errors import ConfigError, EvaluationError
from paramrag.evaluate.questions import Question
from paramrag.models import answer_ids

from .conftest import Pipelines


def test_quarters_cover_every_layer_once() -> None:
    for count in (1, 2, 4, 30, 33):
        assert sorted(layer for layers in bands(count).values() for layer in layers) == list(range(count))
    assert list(bands(30)) == ["layers 0-6", "layers 7-14", "layers 15-21", "layers 22-29"]


def test_bands_are_written_as_in_a_recipe() -> None:
    assert bands(8, ["last-half", "0,2-3"]) == {"layers last-half": (4, 5, 6, 7), "layers 0,2-3": (0, 2, 3)}
    with pytest.raises(ConfigError, match="layers 0 to 7"):
        bands(8, ["5-9"])
    with pytest.raises(ConfigError, match="is not all, first-half"):
        bands(8, ["deep"])


def test_parts_leave_out_what_has_no_adapter(pipeline: Pipelines) -> None:
    names = [part.name for part in parts_of(pipeline("p-rag"))]
    modules = ["gate_proj", "up_proj", "down_proj"]
    assert names == ["nothing", "everything", "layer 1", "layer 2", "layer 3", *modules]


def test_effects_are_those_of_the_restricted_injection(pipeline: Pipelines, questions: list[Question]) -> None:
    p_rag = pipeline("p-rag")
    found = layer_effects(parts_of(p_rag, ["2-3"]), [*questions, Question("none", "Who?", ())])
    assert (found.n, found.left_out) == (3, 1)
    base = p_rag.engine.base
    wanted = []
    for question in questions:
        request, _ = p_rag.request(question.question)
        assert request.injection is not None
        part = restrict(request.injection, layers=(2, 3))
        scores = Forced(base, request.prompt_ids, [None, part]).log_probs(
            answer_ids(base.tokenizer, question.answers[0])
        )
        wanted.append(scores.mean(-1).tolist())
    band = found.parts["layers 2-3"]
    assert band.log_prob.mean == pytest.approx(sum(row[1] for row in wanted) / 3, abs=1e-5)
    assert band.gain.mean == pytest.approx(sum(row[1] - row[0] for row in wanted) / 3, abs=1e-5)
    assert found.parts["nothing"].gain.mean == 0
    # layers below the band are those of the base model
    below = found.parts["nothing"].pks.values[:, :2] - band.pks.values[:, :2]
    assert abs(below).max() < 1e-6
    assert abs(found.parts["nothing"].pks.values[:, 2:] - band.pks.values[:, 2:]).max() > 1e-5
    json.dumps(found.to_json(), allow_nan=False)


def test_bad_input_is_refused(pipeline: Pipelines, questions: list[Question]) -> None:
    part = Part("all", pipeline("p-rag"))
    with pytest.raises(EvaluationError, match="different names"):
        layer_effects([part, part], questions)
    with pytest.raises(EvaluationError, match="0 of 1 questions"):
        layer_effects([part], [Question("none", "Who?", ())])
