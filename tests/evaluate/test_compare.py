import json
from pathlib import Path

import pytest

from paramrag.errors import EvaluationError
from paramrag.evaluate import Question, compare, evaluate

from .answering import Table, question

QUESTIONS = [question(number, "yes sir") for number in range(8)]


def answers(right: str) -> Table:
    """Right where the pattern has an x, wrong where it has an o, failing where it has a dash."""
    said = {"x": "yes sir", "o": "maybe"}
    return Table({entry.question: said[mark] for entry, mark in zip(QUESTIONS, right, strict=True) if mark in said})


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    a, b = tmp_path / "a", tmp_path / "b"
    evaluate({"t-rag": answers("xxoooooo")}, QUESTIONS, a)
    evaluate({"t-rag": answers("oxxxxxo-"), "pt-rag": answers("xxoooooo")}, QUESTIONS, b)
    return a, b


def test_difference_on_common_questions(runs: tuple[Path, Path]) -> None:
    found = compare(*runs, metric="has_answer", mode_a="t-rag", mode_b="t-rag")
    assert (found.mean_a, found.mean_b) == (0.25, 0.625)
    assert found.difference.mean == 0.375
    assert found.difference.low < 0.375 < found.difference.high
    assert found.mcnemar is not None
    # Five discordant pairs, one for A: 2 * (1 + 5) / 32.
    assert (found.mcnemar.only_a, found.mcnemar.only_b, found.mcnemar.p) == (1, 4, 0.375)
    assert (found.failed_a, found.failed_b, found.left_out) == (0, 1, 0)
    assert json.loads(json.dumps(found.to_json()))["n"] == 8


def test_modes_of_one_run_and_a_run_with_itself(runs: tuple[Path, Path]) -> None:
    same = compare(runs[0], runs[1], mode_b="pt-rag")
    assert (same.difference.mean, same.difference.low, same.difference.high) == (0.0, 0.0, 0.0)
    assert same.mcnemar is not None
    assert same.mcnemar.p == 1.0
    assert compare(runs[1], runs[1], "f1", "t-rag", "pt-rag").mcnemar is None


def test_questions_of_one_run_alone_are_left_out(runs: tuple[Path, Path], tmp_path: Path) -> None:
    evaluate({"t-rag": answers("xxoooooo")}, QUESTIONS[:5], tmp_path / "few")
    found = compare(runs[0], tmp_path / "few")
    assert (found.difference.n, found.left_out) == (5, 3)


def test_runs_that_cannot_be_compared_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = [Question("z", "What is 0?", ("x",))]
    evaluate({"t-rag": answers("xxoooooo")}, other, tmp_path / "other")
    with pytest.raises(EvaluationError, match="no question id in common"):
        compare(runs[0], tmp_path / "other")
    same_id = [Question("q0", "What is 1?", ("x",))]
    evaluate({"t-rag": answers("xxoooooo")}, same_id, tmp_path / "same-id")
    with pytest.raises(EvaluationError, match=r"question 'q0' is 'What is 0\?' in .* and 'What is 1\?' in"):
        compare(runs[0], tmp_path / "same-id")
    with pytest.raises(EvaluationError, match="has the modes pt-rag, t-rag; say which"):
        compare(*runs)
    with pytest.raises(EvaluationError, match=r"no mode 'p-rag'.*did you mean"):
        compare(*runs, mode_b="p-rag")
    with pytest.raises(EvaluationError, match=r"no scores of metric 'emm'.*did you mean 'em'"):
        compare(runs[0], runs[0], metric="emm")
    with pytest.raises(EvaluationError, match=r"holds no run \(no run.json\)"):
        compare(runs[0], tmp_path)


def test_metric_defined_nowhere_cannot_be_compared(tmp_path: Path) -> None:
    evaluate({"m": answers("xxoooooo")}, QUESTIONS, tmp_path, metrics=["mr"])
    with pytest.raises(EvaluationError, match="defined for none of the 8 common questions"):
        compare(tmp_path, tmp_path, metric="mr")
