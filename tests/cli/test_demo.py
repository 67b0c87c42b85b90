"""`paramrag demo`: what a person sees, and what a program reads."""

from __future__ import annotations

from pathlib import Path

from paramrag.modes import modes_with

from .conftest import Run


def test_the_demo_shows_its_table_examples_and_what_to_do_next(
    run: Run, tmp_path: Path, tiny_model_folder: Path
) -> None:
    (tmp_path / "fast.yaml").write_text("rank: 1\nepochs: 1\nlayers: last\n", encoding="utf-8")
    options = ("--dir", tmp_path / "c", "--model", tiny_model_folder, "--recipe", tmp_path / "fast.yaml", "--limit", 4)
    shown = run("demo", *options)
    assert shown.code == 0
    assert shown.err == ""
    for said in ("HasAnswer", "95 % interval", "pt-rag", "BM25 has", "--self-augment", "shipped", "Time: "):
        assert said in shown.out
    assert f"paramrag ask {tmp_path / 'c'}" in shown.out
    found = run("demo", *options, "--json").json
    assert list(found["modes"]) == list(modes_with("static"))
    assert found["adapters"] == {"made": 0, "present": found["passages"], "failed": 0}
    asked = run("ask", tmp_path / "c", "What is the capital of Vellmark?", "--model", tiny_model_folder, "--json")
    assert asked.code == 0  # the collection's own recipe is found without naming it
    assert asked.json["hits"][0]["adapter_id"].endswith(found["recipe_id"])


def test_a_directory_of_something_else_is_refused(run: Run, files: Path, tiny_model_folder: Path) -> None:
    ran = run("demo", "--dir", files, "--model", tiny_model_folder)
    assert ran.code == 2
    assert "is not a collection" in ran.err
