"""Every figure is drawn from a real result, with labels and units on its axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paramrag.analyze import figures
from paramrag.analyze.attention import attention
from paramrag.analyze.collapse import SwapTest, collapse
from paramrag.analyze.explain import explain
from paramrag.analyze.figures.style import LOOKS, MODE_LOOKS
from paramrag.analyze.knowledge import knowledge
from paramrag.analyze.layers import layer_effects, parts_of
from paramrag.analyze.override import override
from paramrag.analyze.similarity import Control, similarity
from paramrag.errors import ConfigError
from paramrag.evaluate.questions import Question
from paramrag.evaluate.statistics import Estimate
from paramrag.modes import modes_with
from tiny import random_rows

from .conftest import RECIPE, Pipelines

MODES = modes_with("static", apart=False)

NAMES = ("knowledge", "similarity", "collapse", "layers", "attention", "override", "explanation")


@pytest.fixture(scope="module")
def drawn(pipeline: Pipelines, questions: list[Question]) -> dict[str, Any]:
    half = Estimate(0.5, 0.2, 0.8, 3)
    layout = pipeline("p-rag").engine.layout(RECIPE)
    rows = random_rows(layout, 6)
    study = knowledge(
        {mode: pipeline(mode) for mode in modes_with("static", apart=False)}, questions, response="gold", ecs=True
    )
    return {
        "knowledge": figures.knowledge_figure(study),
        "similarity": figures.similarity_figure(
            similarity(layout, rows, list("aabbcc"), controls=[Control("two seeds", np.array([0.3]))])
        ),
        "collapse": figures.collapse_figure(collapse(layout, rows, list("aabbcc"), SwapTest(half, half, half, 0))),
        "layers": figures.layers_figure(layer_effects(parts_of(pipeline("p-rag")), questions)),
        "attention": figures.attention_figure(attention(pipeline("pt-rag"), questions)),
        "override": figures.override_figure(
            override({mode: pipeline(mode) for mode in ("p-rag", "pt-rag")}, questions)
        ),
        "explanation": figures.explanation_figure(explain(pipeline("pt-rag"), "When was the mill of Orrin built?")),
    }


@pytest.mark.parametrize("name", NAMES)
def test_axes_are_labelled_and_the_file_is_written(drawn: dict[str, Any], name: str, tmp_path: Path) -> None:
    figure = drawn[name]
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert all(axes.get_xlabel() for axes in panels)
    assert all(axes.get_ylabel() or axes.get_yticklabels() for axes in panels)
    assert figure.get_suptitle()
    assert figures.save(figure, tmp_path / "new" / f"{name}.png").stat().st_size > 5_000


def test_lines_differ_in_more_than_colour() -> None:
    for looks in (LOOKS, tuple(MODE_LOOKS.values())):
        assert len({(look.dash, look.marker) for look in looks}) == len(looks)
        assert len({look.color for look in looks}) == len(looks)


def test_an_unknown_format_is_refused(drawn: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected one of \.png, \.svg"):
        figures.save(drawn["collapse"], tmp_path / "a.jpeg")
