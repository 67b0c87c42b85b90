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


@pytest.fixture(scope="session")
def pairs(run: Run, tiny_model_folder: Path, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection whose documents have several passages, all encoded."""
    directory = tmp_path_factory.mktemp("pairs") / "collection"
    assert run("add", directory, files / "docs", "--words", 14).code == 0
    ran = run("encode", directory, "--model", tiny_model_folder, "--recipe", files / "small.yaml")
    assert ran.code in (0, 1), ran.err
    return directory


def test_similarity(run: Run, pairs: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    figure = tmp_path / "similarity.svg"
    arguments = ("similarity", pairs, "--model", tiny_model_folder, "--controls", 4)
    found = run("analyze", *arguments, "--json", "--figure", figure)
    assert found.code == 0, found.err
    assert "<svg" in figure.read_text()
    assert {"energy", "up_proj", "paper_compat up_proj"} <= set(found.json["separation"])
    ceiling, floor = found.json["controls"]["two seeds"], found.json["controls"]["shuffled text"]
    assert ceiling["n"] >= 2
    assert floor["n"] >= 1
    assert -1 <= floor["mean"] <= 1
    assert -1 <= ceiling["mean"] < 1  # another seed is another adapter
    shown = run("analyze", *arguments[:4])
    assert "whole updates" in shown.out
    assert "paper_compat down_proj" in shown.out


def test_collapse(run: Run, pairs: Path, files: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    arguments = ("analyze", "collapse", pairs, "--model", tiny_model_folder)
    figure = tmp_path / "collapse.pdf"
    found = run(*arguments, "--data", files / "questions.jsonl", "--json", "--figure", figure)
    # a model of random weights answers nothing with either adapter: the swap test must say so
    assert found.code == 1
    assert any("points of HasAnswer" in alarm for alarm in found.json["alarms"])
    assert "alarm: another document's adapter" in found.err
    assert figure.read_bytes().startswith(b"%PDF")
    shown = run(*arguments)
    assert "effective rank" in shown.out


def test_layers(run: Run, asking: tuple[object, ...], files: Path, tmp_path: Path) -> None:
    figure = tmp_path / "layers.png"
    found = run("analyze", "layers", *asking, "--band", "0", "--trained", "small", "--json", "--figure", figure)
    assert found.code == 0, found.err
    modules = ["gate_proj", "up_proj", "down_proj"]
    assert list(found.json["parts"]) == ["nothing", "everything", "layers 0", *modules, "trained as small (all)"]
    everything, again = (found.json["parts"][name] for name in ("everything", "trained as small (all)"))
    assert everything == again
    assert figure.read_bytes().startswith(PNG)
    assert "\nlayer 1 " in run("analyze", "layers", *asking).out


def test_attention(run: Run, pairs: Path, files: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    asking = (pairs, "--data", files / "questions.jsonl", "--model", tiny_model_folder, "--max-new-tokens", 3)
    figure = tmp_path / "attention.png"
    found = run("analyze", "attention", *asking, "--top-k", 2, "--json", "--figure", figure)
    assert found.code == 0, found.err
    assert list(found.json["orders"]) == ["as retrieved", "first", "last"]
    assert figure.read_bytes().startswith(PNG)
    shown = run("analyze", "attention", *asking, "--top-k", 2).out
    assert all(word in shown for word in ("as retrieved", "first", "last", "injected", "2 passages"))


def test_override(run: Run, encoded: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    data, figure = tmp_path / "conflict.jsonl", tmp_path / "override.png"
    data.write_text(
        '{"id": "a", "question": "Who designed the Zorbik Tower?", "answers": ["Ottilie Varn"], "task": "conflict", '
        '"conflict_answer": "Gustave Eiffel"}\n'
    )
    arguments = ("analyze", "override", encoded, "--data", data, "--model", tiny_model_folder)
    found = run(*arguments, "--scales", "0,1,2", "--json", "--figure", figure)
    assert found.code == 0, found.err
    assert found.json["scales"] == [0, 1, 2]
    assert {len(found.json["modes"][mode]["original"]) for mode in ("p-rag", "pt-rag")} == {3}
    assert figure.read_bytes().startswith(PNG)
    assert "counterfactual" in run(*arguments, "--modes", "p-rag").out
    assert "something else than numbers" in run(*arguments, "--scales", "0,much").err


def test_all_parts_go_into_a_document_and_a_report(
    run: Run, pairs: Path, files: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    out, document = tmp_path / "inside", tmp_path / "docs" / "study.md"
    arguments = ("analyze", "all", pairs, "--data", files / "questions.jsonl", "--model", tiny_model_folder)
    options = (*arguments, "--out", out, "--max-new-tokens", 2, "--top-k", 2, "--write", document)
    found = run(*options, "--encode", "--parts", "similarity,explanation,override", "--json")
    assert found.code == 1
    assert found.json["parts"] == ["similarity", "explanation"]
    assert "conflict_answer" in found.json["failed"]["override"]
    text = document.read_text()
    assert text.startswith("# The study\n\n<!-- study:inside -->\n## Inside")
    assert "![Similarity of adapters](figures/inside-similarity.png)" in text
    assert (document.parent / "figures" / "inside-similarity.png").read_bytes().startswith(PNG)
    command = (
        f"paramrag analyze all {pairs.name} --data questions.jsonl --out inside --parts similarity,explanation,override"
    )
    assert f"Command: `{command} --encode --top-k 2 --model" in text
    again = run(*options, "--parts", "explanation")
    assert again.code == 0
    assert "explanation: there already" in again.err
    assert "2 parts" in again.out
    assert document.read_text().count("<!-- study:inside -->") == 1

    assert run("eval", *arguments[2:], "--modes", "vanilla", "--out", tmp_path / "run").code == 0
    page = Path(run("report", tmp_path, "--json").json["page"]).read_text()
    assert "<h3>Similarity of adapters</h3>" in page
    assert page.count('src="data:image/svg+xml;base64,') == 2
    assert page.index("Inside: what an injected document") < page.index("Questions, one by one")
    refused = run(*arguments, "--out", out, "--parts", "layer")
    assert refused.code == 2
    assert "did you mean 'layers'" in refused.err


def test_ask_explains(run: Run, encoded: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    figure = tmp_path / "explain.png"
    arguments = ("ask", encoded, "Who designed the Zorbik Tower?", "--model", tiny_model_folder, "--explain")
    found = run(*arguments, "--json", "--max-new-tokens", 3, "--figure", figure)
    assert found.code == 0, found.err
    explanation = found.json["explanation"]
    assert found.json["answer"] == explanation["answer"]
    assert {effect["kind"] for effect in explanation["effects"]} == {"adapter", "text"}
    assert all(len(effect["tokens"]) == len(explanation["tokens"]) == 3 for effect in explanation["effects"])
    assert figure.read_bytes().startswith(PNG)
    shown = run(*arguments, "--max-new-tokens", 3)
    assert all(f"\n{name} " in shown.out for name in ("A*", "A1", "T*", "T1"))
    assert "\N{FULL BLOCK}" in shown.out
    for more, said in (("--stream", "--explain"), ("--compare", "--explain")):
        refused = run(*arguments, more)
        assert refused.code == 2
        assert said in refused.err
    assert "add --explain" in run(*arguments[:-1], "--figure", figure).err


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
