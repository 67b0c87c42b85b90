"""`paramrag report` and `paramrag study`."""

from __future__ import annotations

import json
from pathlib import Path

from paramrag.evaluate import Question, evaluate
from paramrag.types import Answer, Query, Trace

from .conftest import Run

STUDY = """\
name: towns
question: Does it run?
data: [towns]
modes: [t-rag, pt-rag]
top_k: 1
max_new_tokens: 2
recipe: {from: default, epochs: 1, rank: 1, augmentation: {augmenter: rules, questions: 2}}
variants:
  - {}
  - {text: replace-all}
"""


class Yes:
    def ask_many(self, asked: list[Query]) -> list[Answer]:
        return [Answer(query.text, "t-rag", "yes sir", (), Trace(total_ms=3.0)) for query in asked]


def test_report_writes_a_page(run: Run, tmp_path: Path) -> None:
    evaluate({"t-rag": Yes()}, [Question("q", "?", ("yes sir",))], tmp_path / "run")
    shown = run("report", tmp_path)
    assert shown.code == 0, shown.err
    assert "1 cell" in " ".join(shown.out.split())  # long paths break the line
    ran = run("report", tmp_path, "--out", tmp_path / "page.html", "--metric", "em", "--json")
    assert Path(ran.json["page"]).read_text().startswith("<!doctype html>")
    assert all(Path(file).exists() for file in ran.json["files"])
    for arguments, said in (
        ((tmp_path / "none",), "no evaluation"),
        ((tmp_path, "--metric", "x"), "no run has metric"),
    ):
        failed = run("report", *arguments)
        assert failed.code == 2
        assert said in failed.err


def test_study_runs_resumes_and_writes_its_tables(run: Run, tmp_path: Path, tiny_model_folder: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    entries = [
        {
            "id": str(number),
            "question": f"Who founded {town}?",
            "answers": ["Nobody"],
            "passages": [{"title": town, "text": f"{town} was founded by Ann {town} in 1801.", "gold": True}],
        }
        for number, town in enumerate(("Ardon", "Bexley", "Corvin"))
    ]
    (data / "towns.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    study, document = tmp_path / "study.yaml", tmp_path / "study.md"
    study.write_text(STUDY)
    options = (study, "--data", data, "--out", tmp_path / "out", "--model", tiny_model_folder)
    costs = run("study", *options, "--dry-run", "--json").json
    assert [(cost["data"], cost["passages"]) for cost in costs["adapters"]] == [("towns", 3)]
    assert costs["answers"] == 2 * 2 * 3
    first = run("study", *options, "--write", document, "--json")
    assert first.code == 0, first.err
    assert len(first.json["runs"]) == 2
    assert "<!-- study:towns -->" in document.read_text()
    assert "then 12 answers to ask" in first.err
    assert "Command: `paramrag study study.yaml --data data --out out --model" in document.read_text()
    assert "Not complete" not in document.read_text()
    assert "### Findings" in document.read_text()
    assert "PT-RAG less T-RAG, has_answer: +0.0 [+0.0, +0.0] points, n = 3 questions." in document.read_text()
    again = run("study", *options)
    assert again.code == 0, again.err
    assert "2 cells" in again.out
    assert "then 0 answers to ask" in again.err
    unknown = run("study", *options, "--sets", "towns,cities")
    assert unknown.code == 2
    assert "none of the study's data sets: towns" in unknown.err
    assert Path(first.json["tables"]).read_text() in document.read_text() + "\n"
    study.write_text(STUDY.replace("data: [towns]", "data: [cities]"))
    nothing = run("study", *options)
    assert nothing.code == 2
    assert "no question file" in nothing.err
