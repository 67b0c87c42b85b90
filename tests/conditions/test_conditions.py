"""Noise in text and adapters, damage to adapters, and what a pipeline makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from paramrag import Collection, Engine, Pipeline
from paramrag.aggregate import concat
from paramrag.aggregate.joining import join
from paramrag.conditions import Conditions, conditions
from paramrag.conditions.rows import quantised, randomised, scaled
from paramrag.config import Recipe
from paramrag.errors import ConfigError
from paramrag.store import codec
from paramrag.store.layout import AdapterLayout
from paramrag.types import Adapter, AdapterKey, Hit, Injection, Passage, Query
from tiny import layout_of, make_passage, random_rows, tiny_base

RECIPE = Recipe(layers="1-3")
QUESTION = "When was Lomund built, Lomund 2?"


def named(*numbers: int) -> list[Hit]:
    return [Hit(make_passage(number)[0], f"d{number}", 10.0 - number) for number in numbers]


def noise(query: Query, hits: Sequence[Hit]) -> list[Hit]:
    return [Hit(Passage(f"Noise {rank}", "Noise"), "n", 0.0) for rank, _ in enumerate(hits)]


@pytest.mark.parametrize(
    ("step", "replaced"),
    [("replace-first", [0]), ("replace-last", [2]), ("replace-all", [0, 1, 2]), ("replace-first+replace-last", [0, 2])],
)
def test_hits_are_replaced_where_told_and_keep_their_scores(step: str, replaced: list[int]) -> None:
    hits = named(0, 1, 2)
    text = conditions(step, noise=noise).text
    assert text is not None
    found = text(Query("?"), hits)
    assert [rank for rank in range(3) if found[rank] != hits[rank]] == replaced
    assert [hit.score for hit in found] == [hit.score for hit in hits]
    assert text(Query("?"), []) == []
    assert text(Query("?"), hits[:1])[0].passage.title == "Noise"


def test_no_condition_changes_nothing() -> None:
    assert conditions() == conditions("none", "") == Conditions()


@pytest.mark.parametrize(
    ("text", "adapters", "message"),
    [
        ("shuffled", None, "text condition 'shuffled': expected one of replace-last, replace-first, replace-all"),
        ("scaled(2)", None, "text condition"),
        (None, "replace-al", "did you mean 'replace-all'"),
        (None, "scaled", "expected a number from"),
        (None, "scaled(nan)", "expected a number from"),
        (None, "quantised(1)", "expected a number from 2 to 8"),
        (None, "quantised(2.5)", "whole number of bits"),
        (None, "random(3)", "unknown condition"),
        (None, "scaled(2)+replace-all", "before changing numbers"),
    ],
)
def test_conditions_that_cannot_be_are_refused(text: str | None, adapters: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(")", r"\)")):
        conditions(text, adapters, noise=noise)


def test_replacing_needs_passages() -> None:
    with pytest.raises(ConfigError, match="needs passages to put in"):
        conditions("replace-all")


@pytest.fixture(scope="module")
def layout() -> AdapterLayout:
    return layout_of(tiny_base(), RECIPE)


def updates(layout: AdapterLayout, row: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.einsum("lro,lri->loi", b, a) for name, (a, b) in layout.views(row).items()}


def test_scaling_scales_the_update(layout: AdapterLayout) -> None:
    rows = random_rows(layout, 2)
    before, after = updates(layout, rows[1]), updates(layout, scaled(layout, rows, 0.5)[1])
    assert all(np.allclose(after[name], before[name] / 2, rtol=1e-5) for name in before)
    assert np.array_equal(scaled(layout, rows, 1.0), rows)


def test_random_numbers_keep_every_norm_and_belong_to_the_passage(layout: AdapterLayout) -> None:
    rows = random_rows(layout, 2)
    found = randomised(layout, rows, ["a", "b"])
    assert np.array_equal(randomised(layout, rows[:1], ["a"]), found[:1])
    assert not np.array_equal(randomised(layout, rows[:1], ["a"], seed=1), found[:1])
    for block in layout.blocks():
        old, new = (r[:, block.start : block.stop].reshape(-1, block.shape[2]) for r in (rows, found))
        assert np.allclose(np.linalg.norm(old, axis=1), np.linalg.norm(new, axis=1), rtol=1e-5)
    correlation = np.corrcoef(rows.ravel(), found.ravel())[0, 1]
    assert abs(correlation) < 0.05


def test_eight_bits_are_the_store_s(layout: AdapterLayout) -> None:
    rows = random_rows(layout, 1)
    stored = codec.decode(codec.encode(rows[0], layout, "int8"), layout, "int8")
    assert np.allclose(quantised(layout, rows, 8)[0], stored, atol=1e-7)
    errors = [np.abs(quantised(layout, rows, bits) - rows).mean() for bits in (2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    assert np.array_equal(quantised(layout, np.zeros_like(rows), 4), np.zeros_like(rows))


def dense(injection: Injection, layers: int) -> dict[str, torch.Tensor]:
    """The update of every module in every layer."""
    found = {}
    for name, a in injection.a.items():
        full = torch.zeros(layers, injection.b[name].shape[-1], a.shape[-1])
        full[list(injection.layers)] = torch.einsum("lro,lri->loi", injection.b[name], a)
        found[name] = full
    return found


def test_joined_injections_are_the_sum_of_their_updates() -> None:
    base = tiny_base()
    recipes = (RECIPE, Recipe(layers="0,3", rank=3, modules=("down_proj",)))
    parts = [concat(lay, random_rows(lay, 2, seed), [1.0, 0.5], "answer") for seed, lay in
             enumerate(layout_of(base, recipe) for recipe in recipes)]  # fmt: skip
    joined = join(parts)
    assert joined is not None
    assert joined.layers == (0, 1, 2, 3)
    whole, first, second = (dense(each, 4) for each in (joined, *parts))
    for name, update in whole.items():
        assert torch.allclose(update, first[name] + second.get(name, torch.zeros(())), atol=1e-6)
    assert join([None, parts[0]]) is parts[0]
    assert join([None, None]) is None


def test_injections_of_two_activations_are_not_joined(layout: AdapterLayout) -> None:
    rows = random_rows(layout, 1)
    with pytest.raises(ConfigError, match="activation answer and full cannot be joined"):
        join([concat(layout, rows, [1.0], "full"), concat(layout, rows, [1.0], "answer")])


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_base())


def fill(collection: Collection, engine: Engine, salt: int = 0) -> Collection:
    collection.add([make_passage(number)[0] for number in range(8)])
    layout = engine.layout(RECIPE)
    collection.put_recipe(RECIPE, engine.fingerprint, layout)
    collection.put_adapters(
        [
            Adapter(
                AdapterKey(key, engine.fingerprint, RECIPE.id),
                random_rows(layout, 1, int(key[:6], 16) + salt, 0.2)[0],
                layout,
            )
            for key in collection.passage_ids()
        ]
    )
    return collection


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Collection:
    return fill(Collection.open(tmp_path_factory.mktemp("c") / "c"), engine)


def others(query: Query, hits: Sequence[Hit]) -> list[Hit]:
    own = {hit.passage.id for hit in hits}
    return [hit for hit in named(*range(8)) if hit.passage.id not in own][: len(hits)]


def test_text_and_adapters_are_disturbed_independently(collection: Collection, engine: Engine) -> None:
    def used(text: str | None, adapters: str | None) -> tuple[list[str], list[str], str]:
        changed = conditions(text, adapters, noise=others)
        answer = Pipeline(collection, engine, recipe=RECIPE, max_new_tokens=6, conditions=changed).ask(QUESTION)
        in_text = [entry.hit.passage.id for entry in answer.used if entry.in_text]
        in_weights = [entry.adapter.passage_id for entry in answer.used if entry.adapter]
        return in_text, in_weights, answer.text

    clean = used(None, None)
    assert clean[0] == clean[1]
    noisy_text, noisy_weights = used("replace-all", None), used(None, "replace-last")
    assert set(noisy_text[0]).isdisjoint(clean[0])
    assert noisy_text[1] == clean[1]
    assert noisy_weights[0] == clean[0]
    assert noisy_weights[1][:-1] == clean[1][:-1]
    assert noisy_weights[1][-1] not in clean[1]
    both = used("replace-all", "replace-all")
    assert both[0] == both[1] == noisy_text[0]  # the same noise in both channels
    assert len({clean[2], noisy_text[2], both[2]}) == 3


def test_other_adapters_answer_as_injecting_them_by_hand(collection: Collection, engine: Engine) -> None:
    """The swap test: adapters of other passages, weighted as the hits that they stand in for."""
    changed = conditions(adapters="shuffled+scaled(0.5)", others=others)
    pipeline = Pipeline(collection, engine, "p-rag", recipe=RECIPE, max_new_tokens=6, conditions=changed)
    _, adapted = pipeline.hits(QUESTION)

    def fixed(query: str, k: int) -> list[Hit]:
        return adapted

    by_hand = Pipeline(
        collection, engine, "p-rag", recipe=RECIPE, max_new_tokens=6, retriever=fixed,
        conditions=Conditions(rows=lambda layout, rows, ids: scaled(layout, rows, 0.5)),
    )  # fmt: skip
    assert pipeline.ask(QUESTION).text == by_hand.ask(QUESTION).text


def test_no_adapter_at_all_is_the_same_as_scaled_to_nothing(collection: Collection, engine: Engine) -> None:
    nothing = conditions(adapters="scaled(0)")
    texts = {
        Pipeline(collection, engine, mode, recipe=RECIPE, max_new_tokens=6, conditions=nothing).ask(QUESTION).text
        for mode in ("t-rag", "pt-rag")
    }
    assert len(texts) == 1


def test_adapters_of_another_collection(collection: Collection, engine: Engine, tmp_path: Path) -> None:
    control = fill(Collection.open(tmp_path / "control"), engine, salt=1)
    ask = {"recipe": RECIPE, "max_new_tokens": 6}
    inside = Pipeline(control, engine, "p-rag", **ask).ask(QUESTION)  # type: ignore[arg-type]
    apart = Pipeline(collection, engine, "p-rag", conditions=Conditions(source=control), **ask).ask(QUESTION)  # type: ignore[arg-type]
    assert apart.text == inside.text != Pipeline(collection, engine, "p-rag", **ask).ask(QUESTION).text  # type: ignore[arg-type]


def test_given_passages_are_not_retrieved(collection: Collection, engine: Engine) -> None:
    def never(query: str, k: int) -> list[Hit]:
        raise AssertionError("retrieved")

    given = Query(QUESTION, hits=tuple(named(4, 1)))
    pipeline = Pipeline(collection, engine, recipe=RECIPE, retriever=never, top_k=3, max_new_tokens=2)
    assert [hit.passage for hit in pipeline.ask(given).hits] == [make_passage(4)[0], make_passage(1)[0]]
    fewer = Pipeline(collection, engine, recipe=RECIPE, retriever=never, top_k=1, max_new_tokens=2)
    assert len(fewer.ask(given).hits) == 1


def test_base_injection_is_in_every_mode_and_adds_to_the_adapters(collection: Collection, engine: Engine) -> None:
    layout = engine.layout(RECIPE)
    base = concat(layout, random_rows(layout, 1, 99, 0.2), [1.0], "answer")
    nothing = concat(layout, np.zeros((1, layout.size), np.float32), [1.0], "answer")
    for mode in ("vanilla", "t-rag", "p-rag", "pt-rag"):
        plain, with_base, with_nothing = (
            Pipeline(collection, engine, mode, recipe=RECIPE, max_new_tokens=6, base_injection=each).ask(QUESTION)
            for each in (None, base, nothing)
        )
        assert plain.text == with_nothing.text != with_base.text
        assert plain.used == with_base.used
    adapters_alone = Pipeline(collection, engine, "p-rag", recipe=RECIPE, max_new_tokens=6)
    injection = adapters_alone.prepare(QUESTION).request.injection
    joined = Pipeline(collection, engine, "p-rag", recipe=RECIPE, base_injection=base).prepare(QUESTION)
    assert injection is not None
    assert joined.request.injection is not None
    summed, one, two = (dense(each, 4) for each in (joined.request.injection, base, injection))
    assert all(torch.allclose(summed[name], one[name] + two[name], atol=1e-5) for name in summed)


def test_base_injection_of_another_activation_is_refused(collection: Collection, engine: Engine) -> None:
    layout = engine.layout(RECIPE)
    full = concat(layout, random_rows(layout, 1), [1.0], "full")
    with pytest.raises(ConfigError, match="base_injection has activation full"):
        Pipeline(collection, engine, "p-rag", recipe=RECIPE, base_injection=full)
    assert Pipeline(collection, engine, "vanilla", recipe=RECIPE, base_injection=full, max_new_tokens=2).ask("a?")


def test_adapters_trained_over_a_task_adapter_are_used_over_it(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe with a task adapter, and the same adapters with that task adapter joined by hand."""
    layout = engine.layout(RECIPE)
    task = concat(layout, random_rows(layout, 1, 99, 0.2), [1.0], "answer")
    monkeypatch.setattr("paramrag.pipeline.task_adapter", lambda engine, recipe: task)
    over = RECIPE.model_copy(update={"task": True})
    opened = fill(Collection.open(tmp_path / "c"), engine)
    opened.put_recipe(over, engine.fingerprint, layout)
    held = opened.passage_ids()
    rows = opened.gather(held, base=engine.fingerprint, recipe=RECIPE.id)
    keys = [AdapterKey(key, engine.fingerprint, over.id) for key in held]
    opened.put_adapters([Adapter(key, row, layout) for key, row in zip(keys, rows, strict=True)])

    def said(mode: str, recipe: Recipe, base: Injection | None = None) -> str:
        return Pipeline(opened, engine, mode, recipe=recipe, max_new_tokens=6, base_injection=base).ask(QUESTION).text

    assert said("p-rag", over) == said("p-rag", RECIPE, task) != said("p-rag", RECIPE)
    assert said("t-rag", over) == said("t-rag", RECIPE)
