"""Studies: read from YAML, run cell by cell, resumed without asking anything again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paramrag import Engine
from paramrag.errors import ConfigError
from paramrag.evaluate.study import Outcome, Runner, Study, Variant, load_study, recipe_of
from paramrag.report.cells import read_cells
from paramrag.report.study import study_tables, write_section
from tiny import tiny_base

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = {"from": "default", "epochs": 1, "rank": 1, "augmentation": {"augmenter": "rules", "questions": 2}}
TOWNS = ("Ardon", "Bexley", "Corvin", "Dunmore", "Elswick", "Farrow")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one set of six questions, each with its passage."""
    folder = tmp_path / "data"
    folder.mkdir()
    entries = [
        {
            "id": f"q{number}",
            "question": f"Who founded {town}?",
            "answers": [f"{town} Vale"],
            "passages": [
                {
                    "title": town,
                    "text": f"{town} is a town on the Ladd. {town} was founded by {town} Vale in {1700 + number}.",
                    "gold": True,
                }
            ],
        }
        for number, town in enumerate(TOWNS)
    ]
    (folder / "towns.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def study(*variants: Variant) -> Study:
    return Study(
        name="small", question="Does it run?", data=("towns",), modes=("t-rag", "pt-rag"), recipe=SMALL, top_k=1,
        max_new_tokens=3, variants=variants or (Variant(),),
    )  # fmt: skip


def test_a_study_is_run_once_and_gives_tables(data: Path, tmp_path: Path) -> None:
    runner = Runner(Engine(tiny_base()), data, tmp_path / "out", limit=4)
    asked = study(Variant(), Variant(text="replace-all", adapters="replace-all"), Variant(shuffled_text=True))
    costs = list(runner.estimate(asked))
    assert [(name, cost.passages) for name, _, cost in costs] == [("towns", 4), ("towns", 4)]
    assert costs[1][1].endswith("shuffled text")
    assert runner.answers(asked) == 3 * 2 * 4
    told: list[str] = []
    parts: list[tuple[int, int]] = []
    outcome = runner.run(asked, say=told.append, after=lambda so_far: parts.append((len(so_far.runs), so_far.missing)))
    assert parts == [(1, 2), (2, 1), (3, 0)]
    assert runner.answers(asked) == 0
    assert outcome.failed == ()
    assert len(outcome.runs) == len(set(outcome.runs)) == len(told) == 3
    logs = sorted((tmp_path / "out").rglob("samples.jsonl"))
    assert len(logs) == 6
    before = {log: log.read_bytes() for log in logs}
    assert all(text.count(b"\n") == 4 and b'"error": null' in text for text in before.values())
    held = json.loads((outcome.runs[1] / "run.json").read_text())
    assert held["configuration"]["text"] == held["configuration"]["adapters"] == "replace-all"
    assert held["metrics"][:4] == ["has_answer", "contains", "em", "f1"]

    def never(outcome: Outcome) -> None:
        raise AssertionError(outcome)

    again = Runner(Engine(tiny_base()), data, tmp_path / "out", limit=4).run(asked, after=never)
    assert again == outcome
    assert {log: log.read_bytes() for log in logs} == before

    text = study_tables(again.runs, name="small", question="Does it run?", metric="f1", reference="t-rag")
    assert "## small" in text
    assert "### f1 against t-rag" in text
    assert "| towns | text replace-all, adapters replace-all | pt-rag | 4 |" in text
    assert "### Noise: f1" in text
    document = tmp_path / "study.md"
    document.write_text("# Study\n\nBefore.\n\n<!-- study:small -->\nold\n<!-- /study:small -->\n\nAfter.\n")
    write_section(document, "small", text)
    write_section(document, "other", "more")
    written = document.read_text()
    assert "\nold\n" not in written
    assert written.index("Before.") < written.index("## small") < written.index("After.") < written.index("\nmore\n")


def test_telling_the_cost_trains_no_task_adapter(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramrag.evaluate.cell.task_adapter", lambda *_: pytest.fail("trained"))
    runner = Runner(Engine(tiny_base()), data, tmp_path / "out", limit=2)
    costs = list(runner.estimate(study(Variant(), Variant(task_lora=True))))
    assert [cost.passages for _, _, cost in costs] == [2]


def test_cells_that_cannot_be_run_are_told_and_left_out(data: Path, tmp_path: Path) -> None:
    asked = study(Variant(modes=("vanilla",)), Variant(given="counterfactual")).model_copy(update={"limit": 2})
    outcome = Runner(Engine(tiny_base()), data, tmp_path / "out").run(asked)
    assert len(outcome.runs) == 1
    assert "no question comes with passages of role 'counterfactual'" in outcome.failed[0]
    text = study_tables(outcome.runs, name="s", question="?", metric="em", reference="t-rag", failed=outcome.failed)
    assert "Not run:" in text
    assert "Command: `x`" in study_tables(
        outcome.runs, name="s", question="?", metric="em", reference="t-rag", command="x", missing=3
    )
    costs: list[str] = []
    assert [
        cost.passages
        for _, _, cost in Runner(Engine(tiny_base()), data, tmp_path / "out").estimate(asked, say=costs.append)
    ] == [0]
    assert "cannot be run" in costs[0]
    lost = asked.model_copy(update={"data": ("cities",)})
    assert "no question file" in Runner(Engine(tiny_base()), data, tmp_path / "out").run(lost).failed[0]


def test_the_shipped_studies_can_be_read() -> None:
    studies = {file.stem: load_study(file) for file in sorted(RECIPES.glob("study-*.yaml"))}
    assert {f"study-{entry.name}" for entry in studies.values()} == set(studies)
    assert len(studies["study-noise"].variants) == 16
    noise = {(v.text or "none", v.adapters or "none") for v in studies["study-noise"].variants}
    assert len(noise) == 16
    settings = [studies["study-augmentation"].setting(v) for v in studies["study-augmentation"].variants]
    assert [setting.recipe.augmentation.questions for setting in settings] == [2, 4, 8, 16, 32, 0, 16, 16, 16, 16]
    makers = [setting.recipe.augmentation.augmenter for setting in settings]
    assert makers == [*["auto"] * 7, "writer", "model", "model-unchecked"]
    assert len({setting.recipe.id for setting in settings}) == 10


def test_changes_to_a_recipe_are_in_its_name() -> None:
    assert recipe_of("paper").name == "paper"
    changed = recipe_of({"from": "paper", "epochs": 2, "augmentation": {"questions": 8}})
    assert (changed.name, changed.epochs, changed.augmentation.questions) == ("paper, epochs 2, questions 8", 2, 8)
    assert changed.augmentation.rewrites == 1


GOOD = "name: a\nquestion: why?\ndata: [towns]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "holds a list; expected a mapping"),
        ("name: [", "is not valid YAML"),
        (GOOD + "limt: 3\n", "unknown setting 'limt'.*did you mean 'limit'"),
        (GOOD + "variants: [{adapter: random}]\n", "did you mean 'adapters'"),
        (GOOD + "modes: [t-rga]\n", "did you mean 't-rag'"),
        (GOOD + "recipe: {from: default, epoch: 3}\n", "did you mean 'epochs'"),
        (GOOD + "metric: emm\n", "did you mean 'em'"),
        ("question: why?\ndata: []\n", "name: Field required.*data: "),
    ],
)
def test_studies_that_make_no_sense_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises((ConfigError, ValueError), match=message):
        load_study(file)


def test_a_document_with_half_a_mark_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "study.md"
    document.write_text("<!-- study:a -->\n")
    with pytest.raises(ConfigError, match="has only one of"):
        write_section(document, "a", "text")


def test_a_study_may_name_the_answers_to_choose_from(data: Path, tmp_path: Path) -> None:
    entries = [json.loads(line) for line in (data / "towns.jsonl").read_text().splitlines()]
    choices = [f"{town} Vale" for town in TOWNS]
    (data / "towns.jsonl").write_text("".join(json.dumps({**entry, "choices": choices}) + "\n" for entry in entries))
    free = study().model_copy(update={"max_new_tokens": 16})
    named = free.model_copy(update={"task": "choices"})
    runner = Runner(Engine(tiny_base()), data, tmp_path / "out", limit=2)
    assert runner.answers(named) == 4
    (run,) = runner.run(named).runs
    plain = runner.run(free).runs
    assert {cell.setting for cell in read_cells(run, *plain)} == {"", "task choices"}
    assert run != runner.directory(free, next(runner.plan(free)))
    samples = [json.loads(line) for log in run.rglob("samples.jsonl") for line in log.read_text().splitlines()]
    assert len(samples) == 4
    assert {sample["prediction"] for sample in samples} <= set(choices)
    assert runner.answers(named) == 0
