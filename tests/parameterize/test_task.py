"""The task adapter: one for all, made once, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from paramrag import Engine
from paramrag.config import Recipe
from paramrag.errors import TrainingError
from paramrag.parameterize import task
from paramrag.types import Adapter
from tiny import make_passage, tiny_base

RECIPE = Recipe(layers="2-3", epochs=3, batch_items=6)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMRAG_CACHE", str(tmp_path))


def test_it_learns_from_all_passages_closed_and_open_book() -> None:
    engine = Engine(tiny_base())
    corpus = [make_passage(number) for number in range(4)]
    adapter = task.train_task(engine, RECIPE, corpus)
    assert isinstance(adapter, Adapter)
    items = sum(len(own) for _, own in corpus)
    assert adapter.stats["items"] == 2 * items
    assert adapter.stats["loss"] < adapter.stats["first_loss"]


def test_it_is_trained_once_and_the_same_under_recipes_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "PASSAGES", 1)
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
