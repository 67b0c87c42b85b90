"""`paramrag analyze`: every verb in text, in JSON and as a figure."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Run

PNG = b"\x89PNG"


@pytest.fixture
def asking(encoded: Path, files: Path, tiny_model_folder: Path) -> tuple[object, ...]:
    return (encoded, "--data", files / "questions.jsonl", "--model", tiny_model_folder, "--max-new-tokens", 3)


def test_pks(run: Run, asking: tuple[object, ...], tmp_path: Path) -> None:
    figure = tmp_path / "new" / "pks.png"
    found = run("analyze", "pks", *asking, "--ecs", "--json", "--figure", figure)
    assert found.code == 0, found.err
    assert figure.read_bytes().startswith(PNG)
    assert set(found.json["pks"]) == {"vanilla", "t-rag", "p-rag", "pt-rag"}
    assert set(found.json["differences"]) == {"p-rag - vanilla", "pt-rag - t-rag"}
    assert set(found.json["changed"]) == {"p-rag", "pt-rag"}
    assert len(found.json["ecs"]["t-rag"]["layers"]) == 2
    shown = run("analyze", "pks", *asking, "--modes", "vanilla,p-rag", "--response", "gold")
    assert shown.code == 0
    assert "p-rag - vanilla" in shown.out
    assert "2 questions, 0 left out" in shown.out


def test_bad_input_is_refused_before_the_work(run: Run, asking: tuple[object, ...], tmp_path: Path) -> None:
    for arguments, said in (
        (("pks", *asking, "--figure", tmp_path / "a.gif"), "expected one of .png, .svg, .pdf"),
        (("pks", *asking, "--modes", ","), "names nothing"),
        (("pks", *asking, "--modes", "prag"), "did you mean 'p-rag'"),
        (("pks", *asking, "--response", "golden"), "expected own, gold, or one of the modes"),
    ):
        ran = run("analyze", *arguments)
        assert ran.code == 2, ran
        assert said in ran.err
        assert ran.out == ""
