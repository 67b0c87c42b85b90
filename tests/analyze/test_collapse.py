"""Collapse: what is the same is called so, what differs is not, and the swap test asks the model."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from oracles.dense import dense_updates
from paramrag import Collection, Engine
from paramrag.aggregate import concat
from paramrag.analyze.collapse import collapse, swap_test
from paramrag.analyze.gold import gold_index
from paramrag.config import Recipe
from paramrag.errors import EvaluationError
from paramrag.evaluate.questions import JudgedPassage, Question
from paramrag.infer import Request
from paramrag.models import prompt_ids
from paramrag.types import Passage
from tiny import layout_of, random_rows, tiny_base

from .conftest import DOCUMENTS, RECIPE, Pipelines

LAYOUT = layout_of(tiny_base(), Recipe(rank=2, alpha=8, layers="2"))


def test_equal_adapters_raise_every_geometric_alarm() -> None:
    rows = np.repeat(random_rows(LAYOUT, 1), 6, axis=0)
    found = collapse(LAYOUT, rows, list("aabbcc"))
    assert found.mean_cosine == pytest.approx(1)
    assert found.effective_rank == pytest.approx(1)
    assert found.distance_from_mean.max() < 1e-6
    assert found.auroc == found.auroc_from_mean == pytest.approx(0.5)
    assert len(found.alarms) == 3


def test_unrelated_adapters_raise_none() -> None:
    rows = random_rows(LAYOUT, 6)
    rows[1::2] += rows[::2]  # of one document, so alike
    found = collapse(LAYOUT, rows, list("aabbcc"))
    assert found.alarms == ()
    assert 2 < found.effective_rank <= 6
    assert found.energies.sum() == pytest.approx(1)


def test_two_clusters_have_rank_two_and_are_told_apart() -> None:
    rows = np.repeat(random_rows(LAYOUT, 2), 3, axis=0)
    found = collapse(LAYOUT, rows, list("aaabbb"))
    assert found.effective_rank == pytest.approx(2, abs=0.2)  # two random updates are not quite orthogonal
    assert found.auroc == 1.0
    assert found.distance_from_mean == pytest.approx(np.full(6, np.sqrt(0.5)), abs=0.15)


def test_orthogonal_adapters_have_full_rank_and_no_cosine() -> None:
    rows = np.zeros((4, LAYOUT.size), np.float32)
    for a, b in LAYOUT.views(rows).values():
        for number in range(4):
            a[number, 0, 0, number], b[number, 0, 0, number] = 1.0, 1.0
    found = collapse(LAYOUT, rows)
    assert found.mean_cosine == pytest.approx(0)
    assert found.effective_rank == pytest.approx(4)
    assert found.distance_from_mean == pytest.approx(np.full(4, np.sqrt(0.75)))
    assert found.alarms == ()


def test_equals_the_dense_updates() -> None:
    rows = random_rows(LAYOUT, 5)
    stacked = np.stack(
        [np.concatenate([np.asarray(u).ravel() for u in dense_updates(LAYOUT, row).values()]) for row in rows]
    )
    found = collapse(LAYOUT, rows, list("aabbc"))
    values = np.linalg.svd(stacked, compute_uv=False) ** 2
    assert found.effective_rank == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-5)
    norms = np.linalg.norm(stacked, axis=1)
    wanted = np.linalg.norm(stacked - stacked.mean(0), axis=1) / norms
    np.testing.assert_allclose(found.distance_from_mean, wanted, rtol=1e-4)
    assert collapse(LAYOUT, rows).auroc is None
    apart = stacked - stacked.mean(0)
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    alike, pairs = apart @ apart.T, list(combinations(range(5), 2))
    same = [alike[i, j] for i, j in pairs if "aabbc"[i] == "aabbc"[j]]
    others = [alike[i, j] for i, j in pairs if "aabbc"[i] != "aabbc"[j]]
    assert found.auroc_from_mean == pytest.approx(np.mean([one > other for one in same for other in others]))
    json.dumps(found.to_json(), allow_nan=False)


def test_too_little_is_refused() -> None:
    with pytest.raises(EvaluationError, match="at least 2"):
        collapse(LAYOUT, random_rows(LAYOUT, 1))
    with pytest.raises(EvaluationError, match="zero updates"):
        collapse(LAYOUT, np.zeros((3, LAYOUT.size), np.float32))


def test_swap_answers_with_the_own_and_another_documents_adapter(
    pipeline: Pipelines, collection: Collection, engine: Engine
) -> None:
    # what the model says with the right adapter is made the gold answer: the own adapter then scores, others do not
    questions = []
    for number, document in enumerate(DOCUMENTS):
        asked = f"When was the mill of {document.title} built?"
        layout = engine.layout(RECIPE)
        row = collection.gather([document.passages[0].id], base=engine.fingerprint, recipe=RECIPE.id)
        injection = concat(layout, row, [1.0], RECIPE.activation)
        said = engine.generate([Request(prompt_ids(engine.base.tokenizer, asked), injection)])[0].text
        judged = (JudgedPassage(document.passages[0], True),)
        questions.append(Question(f"q{number}", asked, (said.strip(),), judged))
    found = swap_test(pipeline("pt-rag"), questions)
    assert found.own.mean == 1.0
    assert found.swapped.mean < 1.0
    assert found.loss.mean == pytest.approx(1 - found.swapped.mean)
    assert found.left_out == 0
    report = collapse(layout, random_rows(layout, 3), swap=found)
    assert report.alarms == ()
    same = collapse(layout, random_rows(layout, 3), swap=swap_test(pipeline("pt-rag"), _unanswerable(questions)))
    assert any("points of HasAnswer" in alarm for alarm in same.alarms)


def _unanswerable(questions: list[Question]) -> list[Question]:
    return [Question(each.id, each.question, ("zzzz",), each.passages) for each in questions]


def test_swap_needs_questions_about_the_collection(pipeline: Pipelines) -> None:
    with pytest.raises(EvaluationError, match="about this collection"):
        swap_test(pipeline("pt-rag"), [Question("x", "Who wrote Hamlet?", ("Shakespeare",))])


def test_gold_is_by_judgement_or_else_by_answer() -> None:
    passages = [Passage("The mill is of oak.", "Mill"), Passage("Varn built it.", "Builder")]
    assert gold_index(Question("q", "Who?", ("Varn",)), passages) == 1
    judged = (JudgedPassage(passages[0], True), JudgedPassage(passages[1], False))
    assert gold_index(Question("q", "Who?", ("Varn",), judged), passages) == 0
    assert gold_index(Question("q", "Who?", ("nobody",)), passages) is None
