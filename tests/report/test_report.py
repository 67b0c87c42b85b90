"""Runs on disk -> cells, tables, figures and a page that stands alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paramrag.errors import ConfigError, EvaluationError
from paramrag.evaluate import JudgedPassage, Question, evaluate
from paramrag.report import read_cells, report, tables
from paramrag.types import AdapterKey, Answer, Hit, Passage, Query, Trace, Used

HOSTILE = "</script><script>alert('x')</script> & <b>bold</b>"


def passage(number: int) -> Passage:
    return Passage(f"Thing {number} is made of {HOSTILE}.", f"Page {number}")


def questions(count: int, *, conflict: bool = False) -> list[Question]:
    sides = {"counterfactual": ("yes sir",), "original": ("other",)} if conflict else {}
    return [
        Question(f"q{n}", f"What is {n}?", ("yes sir",), (JudgedPassage(passage(n), True),), metadata=sides)
        for n in range(count)
    ]


class Says:
    """Right on the first so many questions, at a known cost."""

    def __init__(self, right: int, *, text: bool = False, weights: bool = False) -> None:
        self.right, self.text, self.weights = right, text, weights

    def ask_many(self, asked: list[Query]) -> list[Answer]:
        took_ms = 10.0 * len(asked) + int(asked[0].id[1:]) * 0.01  # no two batches take the same time
        return [self._answer(query, took_ms) for query in asked]

    def _answer(self, query: Query, total_ms: float) -> Answer:
        number = int(query.id[1:])
        if number == 7:
            raise RuntimeError("broken")
        key = AdapterKey(passage(number).id, "base", "recipe") if self.weights else None
        used = (Used(Hit(passage(number), "d", 2.0), self.text, key, 1.0),) if self.text or self.weights else ()
        said = "yes sir" if number < self.right else "other"
        return Answer(query.text, "m", said, used, Trace(total_ms=total_ms, prompt_tokens=100 if self.text else 20))


BASE = {"model": "abc", "model_name": "tiny", "recipe": "r", "recipe_name": "default", "top_k": 1}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    modes: Callable[[int], dict[str, Says]] = lambda less: {  # noqa: E731
        "vanilla": Says(1),
        "pt-rag": Says(6 - less, text=True, weights=True),
        "t-rag": Says(5 - less, text=True),
    }
    for less, (text, adapters) in enumerate([("", ""), ("replace-last", ""), ("replace-last", "replace-all")]):
        noise = {key: value for key, value in (("text", text), ("adapters", adapters)) if value}
        configuration = {**BASE, "data": "popqa", **noise}
        evaluate(modes(less), questions(10), root / f"popqa{less}", configuration=configuration, batch=4)
    conflict = questions(4, conflict=True)
    evaluate({"t-rag": Says(1, text=True)}, conflict, root / "rgb", configuration={**BASE, "data": "rgb"})
    return root


def test_cells_are_named_by_what_sets_them_apart(study: Path) -> None:
    cells = read_cells(study)
    assert [(cell.data, cell.setting, cell.mode) for cell in cells[:4]] == [
        ("popqa", "", "vanilla"),
        ("popqa", "", "t-rag"),
        ("popqa", "", "pt-rag"),
        ("popqa", "text replace-last", "vanilla"),
    ]
    assert tables.places(cells)[2] == ("popqa", "text replace-last, adapters replace-all")
    plain = cells[1]
    estimate = plain.estimate("has_answer")
    assert estimate is not None
    assert (estimate.mean, estimate.n, plain.failed) == (0.5, 10, 1)
    assert plain.prompt_tokens() == 100
    assert plain.milliseconds() == pytest.approx(10.0, abs=0.1)


def test_noise_is_told_from_other_settings(study: Path) -> None:
    cells = read_cells(study)
    grid = tables.noise(cells, "has_answer")
    assert grid is not None
    assert [row[:2] for row in grid.rows] == [
        ("none", "none"),
        ("replace-last", "none"),
        ("replace-last", "replace-all"),
    ]
    assert [row[-1][:4] for row in grid.rows] == ["60.0", "50.0", "40.0"]
    assert tables.noise([cell for cell in cells if cell.data == "rgb"], "has_answer") is None


def test_tables_hold_intervals_and_counts(study: Path) -> None:
    cells = read_cells(study)
    accuracy = tables.accuracy(cells, "has_answer")
    assert accuracy.columns == ("data", "setting", "n", "failed", "vanilla", "t-rag", "pt-rag")
    assert accuracy.rows[0] == (
        "popqa",
        "plain",
        "10",
        "3",
        "10.0 [1.8, 40.4]",
        "50.0 [23.7, 76.3]",
        "60.0 [31.3, 83.2]",
    )
    conflict = tables.conflict(cells)
    assert conflict is not None
    assert conflict.rows[0][:7] == ("rgb", "plain", "t-rag", "4", "1", "3", "0")
    assert conflict.rows[0][-2:] == ("75.0 [30.1, 95.4]", "4")
    retrieval = tables.retrieval(cells)
    assert retrieval is not None
    assert retrieval.rows[0] == ("popqa", "plain", "10", "1", "90.0", "-", "90.0")
    assert "| popqa | plain | 10 |" in accuracy.markdown()


class Checked(HTMLParser):
    """Notes what a page loads from elsewhere, its ids, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.scripts += tag == "script"
        for name in ("src", "href", "xlink:href"):
            link = values.get(name)
            if link and not link.startswith("#"):
                self.loaded.append(link)
        if values.get("id"):
            self.ids.append(str(values["id"]))


def test_the_page_stands_alone_and_survives_hostile_text(study: Path, tmp_path: Path) -> None:
    written = report(study, tmp_path / "out" / "page.html")
    html = written.page.read_text(encoding="utf-8")
    page = Checked()
    page.feed(html)
    assert page.loaded == []
    assert page.scripts == 2
    assert len(page.ids) == len(set(page.ids))
    embedded = re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert embedded
    data = json.loads(embedded[1])
    assert data["modes"] == ["vanilla", "t-rag", "pt-rag"]
    group = data["groups"][0]
    entry = group["questions"][0]
    hit = entry["said"]["pt-rag"]["hits"][0]
    assert group["passages"][hit["id"]] == passage(0).text
    assert (hit["text"], hit["gold"], hit["adapter"]) == (True, True, f"{passage(0).id}-recipe")
    assert group["questions"][7]["said"]["t-rag"]["error"] == "RuntimeError: broken"
    for heading in ("Accuracy", "Accuracy against time", "Noise", "Conflict", "Metrics against answer length", "Cost"):
        assert f"<h2>{heading}</h2>" in html
    assert html.count('class="tile"') == 3
    assert "[21.4, 67.4], n = 14" in html  # T-RAG in the plain settings: 5 of 10 in popqa, 1 of 4 in rgb
    assert "#010203" not in html
    assert html.count("currentColor") > 20
    names = {file.name for file in written.files}
    assert names >= {"accuracy.svg", "accuracy.png", "noise.png", "conflict.svg", "tables.md"}
    assert all(file.stat().st_size > 500 for file in written.files)


def test_one_run_alone_and_few_samples(study: Path, tmp_path: Path) -> None:
    written = report(study / "rgb", tmp_path / "page.html", metric="f1", samples=2)
    assert written.cells == 1
    html = written.page.read_text(encoding="utf-8")
    assert '"n":4' in html
    assert '"q2"' not in html
    assert report(study / "rgb").page == study / "rgb" / "report.html"


def test_a_report_of_nothing_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no evaluation with samples"):
        report(tmp_path)
    with pytest.raises(ConfigError, match="no run has metric 'bleu'; expected one of has_answer, em"):
        report(study, tmp_path / "x.html", metric="bleu")


def test_reporting_imports_no_torch() -> None:
    code = "import sys, paramrag.report as r; print([m for m in ('torch', 'lance', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
