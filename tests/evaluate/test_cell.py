"""Cells: settings that compose, the adapters they need, and the control of shuffled text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from paramrag import Collection, Engine, StaticParameterizer
from paramrag.aggregate import concat
from paramrag.config import Recipe
from paramrag.errors import ConfigError
from paramrag.evaluate import JudgedPassage, Question, read_passages, read_run, read_run_samples
from paramrag.evaluate.cell import Cell, Setting
from paramrag.evaluate.controls import control_of, encode_shuffled, shuffled
from paramrag.parameterize import GIVEN_ITEMS
from tiny import make_passage, random_rows, tiny_base

RECIPE = Recipe(layers="1-3", epochs=1, rank=1)
PASSAGES = [make_passage(number) for number in range(6)]
QUESTIONS = [
    Question(f"q{number}", items[0].question, (items[0].answer,), (JudgedPassage(passage, True),))
    for number, (passage, items) in enumerate(PASSAGES)
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_base())


@pytest.fixture
def collection(tmp_path: Path, engine: Engine) -> Collection:
    opened = Collection.open(tmp_path / "c")
    opened.add([passage for passage, _ in PASSAGES])
    opened.put_items(GIVEN_ITEMS, {passage.id: items for passage, items in PASSAGES})
    return opened


def setting(**changes: object) -> Setting:
    return Setting(RECIPE, max_new_tokens=3, **changes)  # type: ignore[arg-type]


def test_what_is_needed_is_what_is_injected(collection: Collection, engine: Engine) -> None:
    for changes in (
        {},
        {"given": "gold"},
        {"adapters": "replace-last", "top_k": 2},
        {"adapters": "shuffled", "top_k": 2},
    ):
        cell = Cell(collection, engine, QUESTIONS, setting(**changes))
        needed = cell.adapters_needed(["vanilla", "t-rag", "p-rag", "pt-rag"])
        StaticParameterizer(engine, RECIPE).encode(collection, needed)
        samples = cell.run(["p-rag", "pt-rag"]).samples
        assert not [sample.error for found in samples.values() for sample in found if sample.error]
        used = {hit["passage_id"] for found in samples.values() for s in found for hit in s.hits if hit["weight"]}
        assert used == set(needed)
    assert Cell(collection, engine, QUESTIONS, setting()).adapters_needed(["vanilla", "t-rag"]) == []


def test_swapping_needs_no_adapters_that_the_run_does_not_make_anyway(collection: Collection, engine: Engine) -> None:
    undisturbed = Cell(collection, engine, QUESTIONS[:3], setting(given="gold")).adapters_needed(["p-rag"])
    swapped = Cell(collection, engine, QUESTIONS[:3], setting(given="gold", adapters="shuffled", top_k=1))
    assert set(swapped.adapters_needed(["p-rag"])) <= set(undisturbed)
    # too few to swap with: the whole collection is drawn from
    alone = Cell(collection, engine, QUESTIONS[:1], setting(given="gold", adapters="shuffled", top_k=1))
    assert alone.adapters_needed(["p-rag"]) != Cell(
        collection, engine, QUESTIONS[:1], setting(given="gold")
    ).adapters_needed(["p-rag"])


def test_gold_passages_are_found_by_definition(collection: Collection, engine: Engine, tmp_path: Path) -> None:
    cell = Cell(collection, engine, QUESTIONS, setting(given="gold", text="replace-all"))
    summary = cell.run(["t-rag"], tmp_path / "noisy", about={"data": "six"})
    assert summary.retrieval == {"hit@1": 0.0, "recall@1": 0.0, "k": 1, "n": 6}
    clean = Cell(collection, engine, QUESTIONS, setting(given="gold")).run(["t-rag"])
    assert clean.retrieval == {"hit@1": 1.0, "recall@1": 1.0, "k": 1, "n": 6}
    held = read_run(tmp_path / "noisy")["configuration"]
    assert (held["data"], held["given"], held["text"]) == ("six", "gold", "replace-all")
    assert "adapters" not in held
    texts = read_passages(tmp_path / "noisy")
    shown = [hit["passage_id"] for sample in read_run_samples(tmp_path / "noisy")["t-rag"] for hit in sample.hits]
    assert set(shown) == set(texts)
    assert all(passage.id == key for key, passage in texts.items())


def test_the_same_noise_in_every_mode(collection: Collection, engine: Engine) -> None:
    StaticParameterizer(engine, RECIPE).encode(collection)
    cell = Cell(collection, engine, QUESTIONS, setting(given="gold", text="replace-all", adapters="replace-all"))
    samples = cell.run(["t-rag", "pt-rag"]).samples
    for texts, both in zip(samples["t-rag"], samples["pt-rag"], strict=True):
        assert [hit["passage_id"] for hit in texts.hits] == [hit["passage_id"] for hit in both.hits]
        assert all(hit["in_text"] and hit["adapter_id"] for hit in both.hits)


def test_conditions_of_a_cell_are_checked_before_anything_runs(collection: Collection, engine: Engine) -> None:
    with pytest.raises(ConfigError, match="did you mean 'replace-all'"):
        Cell(collection, engine, QUESTIONS, setting(adapters="replace-al"))


def test_shuffled_text_keeps_the_words_and_the_questions() -> None:
    passage, items = PASSAGES[2]
    fake, replaced = shuffled(passage, items)
    assert Counter(fake.text.split()) == Counter(passage.text.split())
    assert fake.text != passage.text
    assert [item.question for item in replaced] == [item.question for item in items]
    for item, original in zip(replaced, items, strict=True):
        assert len(item.answer.split()) == len(original.answer.split())
        assert item.answer in fake.text
        assert item.passage_id == fake.id
    assert shuffled(passage, items) == (fake, replaced)


def test_control_stands_in_for_the_adapters_of_the_same_passages(collection: Collection, engine: Engine) -> None:
    parameterizer = StaticParameterizer(engine, RECIPE)
    parameterizer.encode(collection)
    control = control_of(collection)
    ids = collection.passage_ids()
    first = encode_shuffled(parameterizer, collection, control, ids[:3])
    assert (first.encoded, first.present, first.failed) == (3, 0, ())
    again = encode_shuffled(parameterizer, collection, control_of(collection), ids)
    assert (again.encoded, again.present) == (3, 3)
    real, fake = (c.gather(ids, base=engine.fingerprint, recipe=RECIPE.id) for c in (collection, control))
    assert real.shape == fake.shape
    assert not (real == fake).all(axis=1).any()
    cell = Cell(collection, engine, QUESTIONS, setting(shuffled_text=True), control=control)
    assert cell.run(["p-rag"]).modes["p-rag"].failed == 0
    assert cell.setting.to_json()["shuffled_text"] is True


def test_task_adapter_is_joined_in_every_mode(
    collection: Collection, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    StaticParameterizer(engine, RECIPE).encode(collection)
    layout = engine.layout(RECIPE)
    task = concat(layout, random_rows(layout, 1, 7, 0.4), [1.0], "answer")
    monkeypatch.setattr("paramrag.evaluate.cell.task_adapter", lambda engine, recipe: task)
    modes = ["vanilla", "t-rag", "p-rag", "pt-rag"]
    plain, with_task = (
        Cell(collection, engine, QUESTIONS, setting(task_lora=joined)).run(modes).samples for joined in (False, True)
    )
    for mode in modes:
        assert [s.prediction for s in plain[mode]] != [s.prediction for s in with_task[mode]]
    assert setting(task_lora=True).to_json()["task_lora"] is True
