"""Leaving one out: exact where effects add up, and what a second run without the source gives where they do not."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from paramrag import Collection, Engine
from paramrag.analyze.explain import explain, leave_one_out
from paramrag.analyze.forcing import Forced
from paramrag.cli.explanation import WIDTH, bar
from paramrag.models import prompt_ids
from paramrag.types import Adapter, AdapterKey

from .conftest import DOCUMENTS, RECIPE, Pipelines

QUESTION = "When was the mill of Lomund built?"


def test_effects_of_a_linear_toy_add_up() -> None:
    weights_KN = np.random.default_rng(0).standard_normal((4, 7))

    def linear(masks: Sequence[tuple[bool, ...]]) -> np.ndarray:
        return np.asarray(masks, dtype=float) @ weights_KN + 3.0

    together, *each = leave_one_out(linear([(True,) * 4])[0], linear, 4)
    np.testing.assert_allclose(each, weights_KN)
    np.testing.assert_allclose(together, np.sum(each, axis=0))


def test_leaving_out_is_a_run_without(pipeline: Pipelines, engine: Engine, collection: Collection) -> None:
    pt_rag = pipeline("pt-rag")
    found = explain(pt_rag, QUESTION)
    request, used = pt_rag.request(QUESTION)
    response = engine.generate([request])[0].token_ids
    assert len(found.tokens) == len(response)
    assert found.answer == pt_rag.ask(QUESTION).text
    full = Forced(engine.base, request.prompt_ids, [request.injection]).log_probs(response)[0].numpy()
    np.testing.assert_allclose(found.log_probs, full, atol=1e-5)
    assert [(effect.kind, effect.source) for effect in found.effects] == [
        *(("adapter", source) for source in (None, 0, 1, 2)),
        *(("text", source) for source in (None, 0, 1, 2)),
    ]
    kept = [entry for at, entry in enumerate(used) if at != 1]
    rows = collection.gather([e.hit.passage.id for e in kept], base=engine.fingerprint, recipe=RECIPE.id)
    others = pt_rag.aggregate(engine.layout(RECIPE), rows, [e.weight for e in kept], RECIPE.activation)
    without = Forced(engine.base, request.prompt_ids, [others]).log_probs(response)[0].numpy()
    np.testing.assert_allclose(found.effects[2].log_probs, full - without, atol=1e-5)
    prompt = prompt_ids(engine.base.tokenizer, QUESTION, [entry.hit.passage for entry in kept])
    without = Forced(engine.base, prompt, [request.injection]).log_probs(response)[0].numpy()
    np.testing.assert_allclose(found.effects[6].log_probs, full - without, atol=1e-5)
    none = Forced(engine.base, request.prompt_ids, [None]).log_probs(response)[0].numpy()
    np.testing.assert_allclose(found.effects[0].log_probs, full - none, atol=1e-5)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["effects"][0]["passage_id"] is None
    assert data["effects"][1]["title"] == used[0].hit.passage.title


def test_small_adapters_effects_add_up(
    engine: Engine, pipeline: Pipelines, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = Collection.open(tmp_path_factory.mktemp("small") / "c")
    small.add(DOCUMENTS)
    layout = engine.layout(RECIPE)
    small.put_recipe(RECIPE, engine.fingerprint, layout)
    rng = np.random.default_rng(0)
    rows = {key: (rng.standard_normal(layout.size) * 0.004).astype(np.float32) for key in small.passage_ids()}
    small.put_adapters([Adapter(AdapterKey(k, engine.fingerprint, RECIPE.id), row, layout) for k, row in rows.items()])
    p_rag = pipeline("p-rag", weighting="uniform")
    p_rag.collection = small
    together, *each = (effect.log_probs for effect in explain(p_rag, QUESTION).effects)
    assert abs(together).max() > 1e-3
    np.testing.assert_allclose(np.sum(each, axis=0), together, atol=0.05 * abs(together).max())


def test_modes_have_their_own_sources(pipeline: Pipelines) -> None:
    assert explain(pipeline("vanilla"), QUESTION).effects == ()
    assert {effect.kind for effect in explain(pipeline("t-rag"), QUESTION).effects} == {"text"}
    assert {effect.kind for effect in explain(pipeline("p-rag"), QUESTION).effects} == {"adapter"}


def test_a_bar_is_signed_and_has_a_longest() -> None:
    assert bar(2.0, 2.0) == "+" + "\N{FULL BLOCK}" * WIDTH
    assert bar(-1.0, 2.0) == "-" + "\N{FULL BLOCK}" * (WIDTH // 2)
    assert bar(0.01, 2.0) == ""
