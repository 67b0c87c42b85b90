"""The demo from end to end on a tiny model: what it leaves, that it resumes, and what it reports."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from paramrag.demo.loader import demo_items, demo_questions
from paramrag.demo.run import DemoReport, as_question, run_demo, sample_questions
from paramrag.errors import ConfigError
from paramrag.modes import modes_with
from paramrag.store import Collection
from paramrag.types import Passage

MODES = modes_with("static")

RECIPE = "rank: 1\nepochs: 1\nlayers: last\naugmentation:\n  questions: 2\n"
LIMIT = 9


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "fast.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "collection"


@pytest.fixture(scope="module")
def first(place: Path, recipe: str, tiny_model_folder: Path) -> DemoReport:
    return run_demo(place, model=str(tiny_model_folder), recipe=recipe, limit=LIMIT)


def test_the_demo_asks_every_mode_the_same_questions(first: DemoReport) -> None:
    assert list(first.modes) == list(MODES)
    assert {found.n for found in first.modes.values()} == {LIMIT}
    assert all(found.ci95[0] <= found.has_answer <= found.ci95[1] for found in first.modes.values())
    tokens = {mode: found.prompt_tokens for mode, found in first.modes.items()}
    assert tokens["vanilla"] == tokens["p-rag"] < tokens["t-rag"] == tokens["pt-rag"]
    assert all(found.seconds > 0 for found in first.modes.values())


def test_it_leaves_a_collection_with_an_adapter_for_every_passage(first: DemoReport, place: Path) -> None:
    collection = Collection.open(place, create=False)
    (record,) = collection.recipes()
    assert (record.recipe.name, record.recipe.augmentation.augmenter) == ("fast", "auto")
    assert record.adapters == len(collection.passage_ids()) == first.passages == first.encode.encoded
    assert collection.items(collection.passage_ids(), "items") == demo_items()
    assert collection.verify().ok


def test_running_it_again_makes_nothing_twice(
    first: DemoReport, place: Path, recipe: str, tiny_model_folder: Path
) -> None:
    again = run_demo(place, model=str(tiny_model_folder), recipe=recipe, limit=LIMIT)
    assert (again.encode.encoded, again.encode.present) == (0, first.passages)
    assert again.modes == first.modes
    assert again.examples == first.examples


def test_other_questions_are_another_run(first: DemoReport, place: Path, recipe: str, tiny_model_folder: Path) -> None:
    fewer = run_demo(place, model=str(tiny_model_folder), recipe=recipe, limit=2)
    assert {found.n for found in fewer.modes.values()} == {2}


def test_self_made_items_are_another_recipe(
    first: DemoReport, place: Path, recipe: str, tiny_model_folder: Path
) -> None:
    stages: list[str] = []
    report = run_demo(
        place,
        model=str(tiny_model_folder),
        recipe=recipe,
        limit=2,
        self_augment=True,
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert report.recipe_id != first.recipe_id
    assert len(Collection.open(place).recipes()) == 2
    assert {"encode", *MODES} <= set(stages)


def test_the_report_is_the_stable_object(first: DemoReport) -> None:
    said = first.to_json()
    assert said.keys() >= {"modes", "timings_s", "model", "recipe"}
    assert all(
        mode.keys() == {"n", "has_answer", "ci95", "seconds", "prompt_tokens"} for mode in said["modes"].values()
    )
    assert said["timings_s"].keys() == {"model", "add", "encode", "answer", "total"}
    assert said["timings_s"]["total"] == pytest.approx(sum(first.timings_s.values()) / 2, abs=0.1)


def test_retrieval_is_measured_on_judged_questions(first: DemoReport) -> None:
    assert first.retrieval["n"] == LIMIT
    assert first.retrieval["hit@1"] <= first.retrieval["hit@3"]
    assert first.retrieval["hit@3"] > 0.5  # BM25 needs no model to find these


def test_examples_are_of_fixed_kinds_and_show_every_mode(first: DemoReport) -> None:
    assert [example.kind for example in first.examples] == ["single", "paraphrase", "conflict"]
    assert all(list(example.answers) == list(MODES) for example in first.examples)


@pytest.mark.parametrize("limit", [8, 40, 120])
def test_a_sample_holds_the_kinds_in_proportion(limit: int) -> None:
    questions = demo_questions()
    drawn = sample_questions(questions, limit)
    assert len({question.id for question in drawn}) == limit
    shares = Counter(question.kind for question in questions)
    for kind, found in Counter(question.kind for question in drawn).items():
        assert abs(found - limit * shares[kind] / len(questions)) <= 2


def test_a_sample_is_the_same_each_time_and_grows_by_adding() -> None:
    questions = demo_questions()
    assert sample_questions(questions, 20) == sample_questions(questions, 20)
    assert sample_questions(questions, 50)[:20] == sample_questions(questions, 20)
    assert len(sample_questions(questions, 10_000)) == len(questions)


def test_a_two_hop_question_has_two_gold_passages() -> None:
    question = next(question for question in demo_questions() if question.kind == "two-hop")
    assert len(as_question(question).gold_ids) == 2


def test_a_collection_of_other_documents_is_left_alone(tmp_path: Path, tiny_model_folder: Path) -> None:
    collection = Collection.open(tmp_path)
    collection.add(Passage("Paris is the capital of France.", "Paris"))
    with pytest.raises(ConfigError, match="collection of other documents"):
        run_demo(tmp_path, model=str(tiny_model_folder))
    assert len(collection.passage_ids()) == 1
