"""Attention on passages against a dense forward pass; the gold passage is moved, nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from oracles.dense import dense_updates, on_from
from paramrag.aggregate import concat
from paramrag.analyze.attention import attention, attention_mass
from paramrag.config import Recipe
from paramrag.errors import EvaluationError
from paramrag.evaluate.questions import Question
from paramrag.models import passage_spans, prompt_ids
from tiny import FAMILIES, layout_of, make_passage, random_rows, tiny_base, tiny_tokenizer

from .conftest import Pipelines

PASSAGES = [make_passage(number)[0] for number in range(3)]
QUESTION = "When was Orrin built?"


@pytest.mark.parametrize("family", FAMILIES)
def test_mass_is_the_sum_of_the_dense_weights(family: str) -> None:
    base = tiny_base(family)
    layout = layout_of(base, Recipe())
    row = random_rows(layout, 1)
    response = list(base.tokenizer("red oak")["input_ids"])
    prompt = prompt_ids(base.tokenizer, QUESTION, PASSAGES)
    found = attention_mass(base, QUESTION, PASSAGES, response, [None, concat(layout, row, [1.0], "answer")])
    assert found.shape == (2, 4, 3)
    before = base.model.config._attn_implementation
    base.model.set_attn_implementation("eager")
    spans = passage_spans(base.tokenizer, QUESTION, PASSAGES)
    for number, updates in enumerate(({}, dense_updates(layout, row[0]))):
        with torch.no_grad(), on_from(base, updates, len(prompt) - 1):
            ids = torch.tensor([[*prompt, *response]])
            weights = base.decoder(input_ids=ids, use_cache=False, output_attentions=True).attentions
        for layer in range(4):
            at = weights[layer][0, :, len(prompt) - 1 : -1].mean((0, 1))
            for passage, span in enumerate(spans):
                assert found[number, layer, passage] == pytest.approx(float(at[list(span)].sum()), abs=1e-5)
    base.model.set_attn_implementation(before)
    assert found.sum(-1).max() < 1
    np.testing.assert_allclose(found[0, 0], found[1, 0], atol=1e-6)  # attention of the first layer comes before it
    assert abs(found[0, 1:] - found[1, 1:]).max() > 1e-4


def test_spans_are_the_passages() -> None:
    tokenizer = tiny_tokenizer()
    ids = prompt_ids(tokenizer, QUESTION, PASSAGES)
    spans = passage_spans(tokenizer, QUESTION, PASSAGES)
    for number, (span, passage) in enumerate(zip(spans, PASSAGES, strict=True), 1):
        said = tokenizer.decode([ids[at] for at in span])
        assert said.strip() == f"Passage {number}: {passage.title}\n{passage.text}"
    assert passage_spans(tokenizer, QUESTION, []) == []


def test_the_gold_passage_is_moved(pipeline: Pipelines, questions: list[Question]) -> None:
    found = attention(pipeline("pt-rag"), questions)
    assert (found.n, found.left_out, found.passages) == (3, 0, 3)
    assert list(found.orders) == ["as retrieved", "first", "middle", "last"]
    assert all(list(rows) == ["base", "injected"] for rows in found.orders.values())
    shares = [rows["base"].gold_share.values for rows in found.orders.values()]
    assert all(0 < share.min() <= share.max() < 1 for share in shares)
    assert abs(shares[1] - shares[3]).max() > 1e-3
    assert (
        abs(found.moved().values[:, :2]).max() < 1e-5
    )  # injected from layer 1 on, so seen by attention from layer 2 on
    assert abs(found.moved().values[:, 2:]).max() > 1e-5
    # each question's own passage is retrieved first, so that order is the retrieved one
    np.testing.assert_allclose(shares[0], shares[1])
    json.dumps(found.to_json(), allow_nan=False)


def test_without_adapters_only_the_base_is_seen(pipeline: Pipelines, questions: list[Question]) -> None:
    found = attention(pipeline("t-rag", top_k=2), questions)
    assert list(found.orders) == ["as retrieved", "first", "last"]
    assert list(found.orders["first"]) == ["base"]
    assert found.to_json()["moved"] == {}


def test_bad_input_is_refused(pipeline: Pipelines, questions: list[Question]) -> None:
    with pytest.raises(EvaluationError, match="puts 0 passages into the text"):
        attention(pipeline("p-rag"), questions)
    with pytest.raises(EvaluationError, match="none has its gold passage"):
        attention(pipeline("pt-rag"), [Question("x", "Who built the mill of Orrin?", ("zzz",))])
