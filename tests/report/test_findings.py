"""Runs -> findings: paired, pooled over data sets, and silent about what was not asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paramrag.evaluate import Question, evaluate
from paramrag.report import read_cells, tables
from paramrag.report.cells import cell_under
from paramrag.report.findings import findings
from paramrag.report.study import differences
from paramrag.types import Answer, Query, Trace

BASE = {"model": "abc", "model_name": "tiny", "recipe": "r", "recipe_name": "default", "top_k": 3}


class Right:
    """Right on the questions with these numbers; with more words, if it is talkative."""

    def __init__(self, *right: int, talkative: bool = False, otherwise: str = "no idea") -> None:
        self.right, self.otherwise = right, otherwise
        self.said = "well it must be Ann Vale of course" if talkative else "Ann Vale"

    def ask_many(self, asked: list[Query]) -> list[Answer]:
        return [
            Answer(q.text, "m", self.said if int(q.id[1:]) in self.right else self.otherwise, (), Trace(total_ms=1.0))
            for q in asked
        ]


def questions(count: int, **metadata: tuple[str, ...]) -> list[Question]:
    return [Question(f"q{n}", f"Who is {n}?", ("Ann Vale",), metadata=metadata) for n in range(count)]


def ran(root: Path, name: str, modes: dict[str, Right], asked: list[Question], **configuration: Any) -> None:
    evaluate(modes, asked, root / name, configuration={**BASE, **configuration})


def told(root: Path, metric: str = "has_answer") -> dict[str, tuple[str, float, int]]:
    found = findings(read_cells(root), metric)
    return {f.measured.split(",")[0]: (f.verdict, round(100 * f.difference.mean, 1), f.difference.n) for f in found}


def test_pairs_are_pooled_over_data_sets(tmp_path: Path) -> None:
    for data, more in (("a", ()), ("b", (6, 7))):
        modes = {
            "vanilla": Right(),
            "t-rag": Right(0, talkative=True),
            "p-rag": Right(),
            "pt-rag": Right(0, 1, 2, 3, 4, 5, *more),
        }
        ran(tmp_path, data, modes, questions(10), data=data)
    found = told(tmp_path)
    assert found["PT-RAG less T-RAG"] == ("holds here", 60.0, 20)  # (5 + 7) of 20
    assert found["P-RAG less vanilla"] == ("cannot be told", 0.0, 20)
    assert found["T-RAG less P-RAG"][2] == 20
    assert not any("task adapter" in name or "Ps" in name or "replace" in name for name in found)


def test_f1_that_favours_short_answers_is_told(tmp_path: Path) -> None:
    modes = {"t-rag": Right(*range(8), talkative=True), "p-rag": Right(*range(8))}
    ran(tmp_path, "a", modes, questions(8), data="a")
    verdict, difference, n = told(tmp_path)["F1 less HasAnswer"]
    assert (verdict, n) == ("holds here", 8)
    assert difference > 30  # equal HasAnswer, very different F1


def test_controls_and_recipes_are_set_against_their_like(tmp_path: Path) -> None:
    asked = questions(8)
    ran(
        tmp_path, "plain", {"t-rag": Right(0), "p-rag": Right(0, 1, 2, 3, 4, 5), "pt-rag": Right(0, 1)}, asked, data="a"
    )
    ran(tmp_path, "task", {"t-rag": Right(*range(8))}, asked, data="a", task_lora=True)
    ran(tmp_path, "swapped", {"p-rag": Right()}, asked, data="a", adapters="shuffled")
    ran(tmp_path, "paper", {"p-rag": Right(0)}, asked, data="a", recipe="p", recipe_name="paper", weighting="uniform")
    found = told(tmp_path)
    assert found["PT-RAG less T-RAG with the task adapter"] == ("does not hold here", -75.0, 8)
    assert found["P-RAG less P-RAG with another passage's adapters"] == ("holds here", 75.0, 8)
    assert found["p-rag"] == ("holds here", 62.5, 8)  # default less paper
    assert found["PT-RAG less T-RAG"][1] == 12.5  # not the one with the task adapter


def test_conflicts_are_told_where_passages_contradict(tmp_path: Path) -> None:
    asked = questions(8, counterfactual=("Ann Vale",), original=("Bo Reed",))
    for given in ("gold", "counterfactual"):
        modes = {"t-rag": Right(0, otherwise="Bo Reed"), "pt-rag": Right(*range(8))}
        if given == "gold":  # the passages are right here: nothing to be faithful to
            modes = {"t-rag": Right(*range(8)), "pt-rag": Right(0)}
        ran(tmp_path, given, modes, asked, data="rgb", given=given)
    found = findings(read_cells(tmp_path))
    ps = next(finding for finding in found if finding.measured.startswith("Ps of PT-RAG"))
    assert (ps.verdict, ps.difference.mean, ps.difference.n) == ("holds here", pytest.approx(7 / 8), 8)
    assert next(finding for finding in found if finding.measured.startswith("MR")).verdict == "holds here"


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """A grid of noise in which every mode was asked only where noise reaches it."""
    asked = questions(8)
    everything = {"vanilla": Right(), "t-rag": Right(*range(6)), "p-rag": Right(*range(5)), "pt-rag": Right(*range(7))}
    ran(tmp_path, "plain", everything, asked, data="a")
    ran(tmp_path, "text", {"t-rag": Right(0), "pt-rag": Right(0, 1)}, asked, data="a", text="replace-all")
    ran(tmp_path, "adapters", {"p-rag": Right(2), "pt-rag": Right(0, 1, 2)}, asked, data="a", adapters="replace-all")
    both = {"text": "replace-all", "adapters": "replace-all"}
    ran(tmp_path, "both", {"pt-rag": Right(0)}, asked, data="a", **both)
    return tmp_path


def test_a_mode_stands_in_where_noise_does_not_reach_it(grid: Path) -> None:
    cells = read_cells(grid)
    both = next(cell for cell in cells if cell.run.name == "both")
    places = {mode: cell_under(cells, both, mode) for mode in ("vanilla", "t-rag", "p-rag", "pt-rag", "other")}
    assert {mode: cell.run.name if cell else None for mode, cell in places.items()} == {
        "vanilla": "plain", "t-rag": "text", "p-rag": "adapters", "pt-rag": "both", "other": None,
    }  # fmt: skip
    table = tables.noise(cells, "has_answer")
    assert table is not None
    shown = [[value.split(" ")[0] for value in row] for row in table.rows]
    assert shown == [
        ["none", "none", "0.0", "75.0", "62.5", "87.5"],
        ["none", "replace-all", "0.0", "75.0", "12.5", "37.5"],
        ["replace-all", "none", "0.0", "12.5", "62.5", "25.0"],
        ["replace-all", "replace-all", "0.0", "12.5", "12.5", "12.5"],
    ]
    assert "n = 8 questions of a" in table.note
    gains = differences(cells, "has_answer", "t-rag")
    assert gains is not None
    assert ("a", "text replace-all, adapters replace-all", "pt-rag", "8") in [row[:4] for row in gains.rows]


def test_noise_is_told_of_pairs_under_the_same_noise(grid: Path) -> None:
    found = {finding.measured.split(", has_answer")[0]: finding for finding in findings(read_cells(grid))}
    assert found["PT-RAG less T-RAG, replace-all"].difference.mean == 0
    assert found["P-RAG with replace-all less vanilla"].difference.mean == pytest.approx(1 / 8)
    assert found["PT-RAG, replace-all in the adapters less in the text"].difference.mean == pytest.approx(1 / 8)
    assert "PT-RAG less T-RAG, replace-last" not in found
