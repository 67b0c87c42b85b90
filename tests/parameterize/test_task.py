"""The task adapter: one for all, made once, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from paramrag import Collection, Engine, Pipeline, StaticParameterizer
from paramrag.aggregate import concat
from paramrag.config import Recipe
from paramrag.errors import TrainingError
from paramrag.parameterize import task
from paramrag.parameterize.sequences import TrainingSequence, sequences_with
from paramrag.types import Injection
from tiny import make_passage, tiny_base

RECIPE = Recipe(layers="2-3", epochs=3, batch_items=6)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMRAG_CACHE", str(tmp_path))


def test_it_learns_from_all_passages_closed_and_open_book() -> None:
    engine = Engine(tiny_base())
    corpus = [make_passage(number) for number in range(4)]
    steps: list[tuple[str, int, int | None]] = []
    row = task.train_task(engine, RECIPE, corpus, lambda *step: steps.append(step))
    assert steps[-1] == ("learn", 2, 2)  # one pass over four passages, two a step
    injection = concat(engine.layout(RECIPE), row[None], [1.0], "answer")
    for shown in (0, 3):
        asked = [
            example
            for passage, items in corpus
            for example in sequences_with(engine.base, RECIPE, items, [passage, corpus[0][0], corpus[1][0]][:shown])
        ]
        assert _loss(engine, asked, injection) < _loss(engine, asked, None)


def test_it_is_the_same_for_the_same_seed() -> None:
    corpus = [make_passage(number) for number in range(3)]
    first, again = (task.train_task(Engine(tiny_base()), RECIPE, corpus) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_it_is_trained_once_and_the_same_under_recipes_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "primer", lambda: [make_passage(7)])
    engine = Engine(tiny_base())
    first = task.task_adapter(engine, RECIPE)
    monkeypatch.setattr(task, "train_task", None)  # would fail if it were called
    again = task.task_adapter(engine, RECIPE.model_copy(update={"task": True}))
    for name, factor in first.b.items():
        assert torch.equal(factor, again.b[name])
        assert np.abs(factor.numpy()).max() > 0
    assert first.activation == "answer"


def test_a_corpus_without_items_is_refused() -> None:
    with pytest.raises(TrainingError, match="no training item"):
        task.train_task(Engine(tiny_base()), RECIPE, [(make_passage(0)[0], [])])


def test_a_loss_that_is_not_finite_is_reported() -> None:
    with pytest.raises(TrainingError, match="lower learning_rate"):
        task.train_task(Engine(tiny_base()), RECIPE.model_copy(update={"learning_rate": 1e20}), [make_passage(0)] * 4)


def _loss(engine: Engine, asked: list[TrainingSequence], injection: Injection | None) -> float:
    """Mean loss of the answers' tokens, by the whole model, one sequence at a time."""
    losses = []
    for example in asked:
        ids, start = [*example.context, *example.tail], len(example.context)
        with torch.no_grad():
            if injection is None:
                logits_TV = engine.logits(ids)
            else:
                with engine.inject(injection):
                    logits_TV = engine.logits(ids)
        labels = torch.tensor(example.labels)
        losses.append(torch.nn.functional.cross_entropy(logits_TV[start:], labels).item())
    return sum(losses) / len(losses)


def test_a_pipeline_puts_it_beneath_adapters_that_were_trained_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "primer", lambda: [make_passage(7)])
    engine = Engine(tiny_base())
    recipe = RECIPE.model_copy(update={"task": True, "layers": "3"})
    collection = Collection.open(tmp_path / "c")
    passage, items = make_passage(2)
    collection.add([passage])
    collection.put_items("items", {passage.id: items})
    StaticParameterizer(engine, recipe).encode(collection)
    pipeline = Pipeline(collection, engine, "p-rag", recipe=recipe, weighting="uniform")
    injection = pipeline.prepare(items[0].question).request.injection
    beneath = task.task_adapter(engine, recipe)
    adapter = collection.adapter(passage.id)
    own = concat(adapter.layout, adapter.row[None], [1.0], "answer")
    assert injection is not None
    for name in own.a:
        update = torch.einsum("lri,lro->loi", injection.a[name], injection.b[name])
        parts = [torch.einsum("lri,lro->loi", one.a[name], one.b[name]) for one in (beneath, own)]
        torch.testing.assert_close(update, parts[0] + parts[1], atol=1e-5, rtol=1e-4)
