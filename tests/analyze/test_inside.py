"""All parts of a collection: told from what was measured, kept when they are finished, made again when they changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paramrag import Collection, Engine, Pipeline
from paramrag.analyze import inside
from paramrag.analyze.attention import RETRIEVED, attention
from paramrag.analyze.inside import PARTS, Subject, look_inside
from paramrag.analyze.knowledge import knowledge
from paramrag.analyze.layers import layer_effects, parts_of
from paramrag.analyze.override import override
from paramrag.analyze.similarity import similarity
from paramrag.analyze.telling import (
    OVERLAP,
    tell_attention,
    tell_knowledge,
    tell_layers,
    tell_override,
    tell_similarity,
)
from paramrag.errors import ConfigError
from paramrag.evaluate import Question, paired_difference
from paramrag.modes import modes_with
from paramrag.report.inside import ORDER, inside_section, read_inside
from tiny import random_rows

from .conftest import RECIPE, Pipelines


@pytest.fixture
def subject(collection: Collection, engine: Engine, questions: list[Question]) -> Subject:
    def pipeline(mode: str, recipe: object = None) -> Pipeline:
        return Pipeline(collection, engine, mode, recipe=RECIPE, max_new_tokens=3)

    return Subject(pipeline, questions)


def test_findings_are_those_of_the_curves(pipeline: Pipelines, questions: list[Question]) -> None:
    study = knowledge({mode: pipeline(mode) for mode in modes_with("static", apart=False)}, questions, response="gold")
    told = tell_knowledge(study)
    assert [finding.difference for finding in told.findings] == [
        curve.mean(range(3, 4)) for curve in study.differences().values()
    ]
    assert (
        "PKS of p-rag less vanilla on the gold answer in all modes, mean of layers 3 to 3" in told.findings[0].measured
    )
    assert (told.n, told.left_out, len(told.columns)) == (3, 0, 4)
    assert all(len(row) == 4 for row in told.rows)
    assert "forces the same" in tell_knowledge(replace(study, response="own")).shows


def test_bands_are_compared_question_by_question(pipeline: Pipelines, questions: list[Question]) -> None:
    study = layer_effects(parts_of(pipeline("p-rag")), questions)
    told = tell_layers(study)
    one, other = study.parts["layer 3"].log_probs, study.parts["layer 1"].log_probs
    deep = next(finding for finding in told.findings if "layer 3 alone less that of layer 1" in finding.measured)
    assert deep.difference == paired_difference(other.tolist(), one.tolist())
    assert study.parts["layer 3"].log_prob.mean == pytest.approx(one.mean())
    assert len(told.findings) == 3


def test_attention_and_place(pipeline: Pipelines, questions: list[Question]) -> None:
    study = attention(pipeline("pt-rag"), questions)
    told = tell_attention(study)
    turned, base, injected = told.findings
    # injected from layer 1 on, so attention can move from layer 2 on
    assert turned.difference == study.moved(RETRIEVED).mean([2, 3])
    first, middle = (study.orders[place]["base"].log_probs for place in ("first", "middle"))
    assert base.difference.mean == pytest.approx((first - middle).mean())
    assert injected.difference.mean != pytest.approx(base.difference.mean)


def test_override_compares_scale_one_with_none(pipeline: Pipelines, questions: list[Question]) -> None:
    study = override({"p-rag": pipeline("p-rag")}, questions, scales=(0.0, 0.5, 1.0))
    turns, raises = tell_override(study).findings
    found = study.modes["p-rag"]
    assert turns.difference.mean == pytest.approx((found.preferred[:, 2] - found.preferred[:, 0]).mean())
    assert raises.difference.mean == pytest.approx((found.counterfactual[:, 2] - found.counterfactual[:, 0]).mean())
    assert tell_override(override({"p-rag": pipeline("p-rag")}, questions, scales=(0.5,))).findings == ()


def test_overlap_is_told_from_the_auroc(pipeline: Pipelines) -> None:
    layout = pipeline("p-rag").engine.layout(RECIPE)
    study = similarity(layout, random_rows(layout, 8), list("aabbccdd"))
    told = tell_similarity(study)
    area = study.separations["paper_compat down_proj"].auroc
    overlap = told.findings[-1].difference
    assert (overlap.mean, overlap.low) == (pytest.approx(OVERLAP - area.mean), pytest.approx(OVERLAP - area.high))
    assert told.findings[0].over == "documents"
    assert np.isfinite([finding.difference.mean for finding in told.findings]).all()


def test_every_part_is_run_told_and_kept(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuple(PARTS) == ORDER
    out, said = tmp_path / "out", []
    written: list[int] = []
    about = {"data": "mills", "command": "paramrag analyze all c"}
    failed = look_inside(
        subject, out, about=about, say=said.append, after=lambda: written.append(len(read_inside(out)))
    )
    assert failed == {}
    assert written == list(range(1, 9))
    held = {file.name: file.read_bytes() for file in sorted(out.iterdir())}
    assert set(held) == {f"{name}{suffix}" for name in PARTS for suffix in (".json", ".png", ".svg")}

    monkeypatch.setattr(inside, "PARTS", dict.fromkeys(PARTS, lambda subject: pytest.fail("made again")))
    assert look_inside(subject, out) == {}
    assert {file.name: file.read_bytes() for file in sorted(out.iterdir())} == held

    parts = read_inside(out)
    assert [part.name for part in parts] == list(ORDER)
    text = inside_section(
        parts, tmp_path / "docs" / "figures", tmp_path / "docs" / "study.md", {"pks-own": "x", "z": "y"}
    )
    assert text.count("![") == text.count("](figures/inside-") == 8
    assert "n = 3 questions, data mills, model tiny-llama, recipe default, top 3." in text
    assert text.count("Command: `paramrag analyze all c`") == 8
    assert text.count("\n- ") >= 10
    assert "- z: y" in text
    assert "- pks-own: x" not in text
    assert (tmp_path / "docs" / "figures" / "inside-layers.png").read_bytes() == held["layers.png"]


def test_a_part_that_cannot_be_run_holds_up_no_other(subject: Subject, tmp_path: Path) -> None:
    plain = [Question(q.id, q.question, q.answers, q.passages) for q in subject.questions]
    failed = look_inside(replace(subject, questions=plain), tmp_path, ["override", "explanation"])
    assert list(failed) == ["override"]
    assert "conflict_answer" in failed["override"]
    # the same directory takes the missing part from other questions
    assert look_inside(subject, tmp_path, ["override"]) == {}
    assert [part.name for part in read_inside(tmp_path)] == ["override", "explanation"]
    with pytest.raises(ConfigError, match="did you mean 'override'"):
        look_inside(subject, tmp_path, ["overide"])


def test_a_part_of_other_questions_or_without_its_figure_is_made_again(subject: Subject, tmp_path: Path) -> None:
    look_inside(subject, tmp_path, ["explanation"])
    (tmp_path / "explanation.png").unlink()
    look_inside(subject, tmp_path, ["explanation"])
    assert (tmp_path / "explanation.png").exists()
    look_inside(replace(subject, questions=subject.questions[1:]), tmp_path, ["explanation"])
    assert subject.questions[1].question in json.loads((tmp_path / "explanation.json").read_text())["shows"]
    (tmp_path / "explanation.json").write_text("{")
    look_inside(subject, tmp_path, ["explanation"])
    assert read_inside(tmp_path)[0].counted == "n = 1 answer"
