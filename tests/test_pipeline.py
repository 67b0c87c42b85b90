"""One question through retrieval, adapters, injection and generation, in every mode."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from paramrag import MODES, Collection, Engine, Pipeline, Request
from paramrag.aggregate import concat, weighting
from paramrag.aggregate.weights import STRENGTH
from paramrag.config import Recipe
from paramrag.errors import ConfigError, NotFoundError
from paramrag.models import prompt_ids
from paramrag.modes import modes_with
from paramrag.parameterize import task_adapter
from paramrag.pipeline import ADAPTERS_DOUBT
from paramrag.types import Adapter, AdapterKey, Hit, Query
from tiny import make_passage, random_rows, tiny_base

RECIPE = Recipe(layers="1-3")
QUESTION = "When was Lomund built, Lomund 2?"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_base())


def put_adapters(collection: Collection, engine: Engine, recipe: Recipe = RECIPE) -> None:
    """Random adapters, each decided by its passage alone."""
    layout = engine.layout(recipe)
    collection.put_recipe(recipe, engine.fingerprint, layout)
    made = [
        Adapter(
            AdapterKey(passage_id, engine.fingerprint, recipe.id),
            random_rows(layout, 1, seed=int(passage_id[:6], 16), size=0.2)[0],
            layout,
        )
        for passage_id in collection.passage_ids()
    ]
    collection.put_adapters(made)


@pytest.fixture
def collection(tmp_path: Path, engine: Engine) -> Collection:
    opened = Collection.open(tmp_path / "c")
    opened.add([make_passage(number)[0] for number in range(5)])
    put_adapters(opened, engine)
    return opened


def test_modes_differ_only_in_what_goes_where(collection: Collection, engine: Engine) -> None:
    answers = {
        mode: Pipeline(collection, engine, mode, recipe=RECIPE, max_new_tokens=6).ask(QUESTION)
        for mode in modes_with("static")
    }
    assert answers["vanilla"].hits == ()
    assert len({tuple(hit.passage.id for hit in answers[mode].hits) for mode in ("t-rag", "p-rag", "pt-rag")}) == 1
    for mode, answer in answers.items():
        in_text = [used.in_text for used in answer.used]
        if MODES[mode].apart:  # what counts for nothing is not read
            assert in_text == sorted(in_text, reverse=True)
        assert in_text == [MODES[mode].text] * len(in_text) or (MODES[mode].apart and any(in_text))
        assert [used.adapter is not None for used in answer.used] == [MODES[mode].weights] * len(answer.used)
    tokens = {mode: answer.trace.prompt_tokens for mode, answer in answers.items()}
    assert tokens["vanilla"] == tokens["p-rag"] < tokens["t-rag"] == tokens["pt-rag"]
    assert tokens["pt-rag-late"] == tokens["t-rag-late"] + tokens["p-rag"]
    assert len({answers[mode].text for mode in modes_with("static", apart=False)}) == 4


def test_late_fusion_gives_the_surest_answer_of_all_sources(collection: Collection, engine: Engine) -> None:
    questions = [f"Of what is Orrin {number} made, and when was Lomund built?" for number in range(5)]
    task, layout = task_adapter(engine, RECIPE), engine.layout(RECIPE)
    late = {
        mode: Pipeline(collection, engine, mode, recipe=RECIPE, max_new_tokens=6)
        for mode in ("t-rag-late", "p-rag-late", "pt-rag-late")
    }
    chosen = set()
    for question in questions:
        hits = late["pt-rag-late"].retrieve(question)
        held = collection.coverage(question, [hit.passage.id for hit in hits])
        weights = weighting("evidence")([hit.score for hit in hits], partial(list, held))
        read, known = [], []
        for hit, weight in zip(hits, weights, strict=True):
            if not weight:
                continue
            doubt = np.log(max(weights) / weight)
            ids = prompt_ids(engine.base.tokenizer, question, [hit.passage])
            read += [(doubt, Request(ids, on)) for on in (None, task)]
            row = collection.gather([hit.passage.id], base=engine.fingerprint, recipe=RECIPE.id)
            own = concat(layout, row, [sum(weights)], RECIPE.activation)
            known.append((doubt + ADAPTERS_DOUBT, Request(prompt_ids(engine.base.tokenizer, question), own)))
        merged = Pipeline(collection, engine, "p-rag", recipe=RECIPE).prepare(question).request
        both = [*read, (ADAPTERS_DOUBT, merged)]
        for mode, sources in (("t-rag-late", read), ("p-rag-late", known), ("pt-rag-late", both)):
            said = []
            for doubt, request in sources:
                (completion,) = engine.generate([replace(request, max_new_tokens=6, logprobs=0)])
                said.append((np.mean([token.logprob for token in completion.logprobs]) - doubt, completion.text))
            surest = max(said, key=lambda one: one[0])
            answer = late[mode].ask(question)
            assert answer.text == surest[1].strip() == "".join(late[mode].stream(question)).strip()
            chosen.add((mode, said.index(surest)))
    assert len(chosen) > 3  # not always the first
    assert all(used.adapter for used in answer.used)
    with pytest.raises(ConfigError, match="apart"):
        late["pt-rag-late"].request(questions[0])


def test_an_adapter_alone_has_the_strength_of_all_together(collection: Collection, engine: Engine) -> None:
    hits = tuple(Pipeline(collection, engine, recipe=RECIPE).retrieve(QUESTION))
    for rule, strength in (("uniform", 1.0), ("score", 1.0), ("evidence", STRENGTH)):
        late = Pipeline(collection, engine, "p-rag-late", recipe=RECIPE, weighting=rule)
        prepared = late.prepare(Query(QUESTION, hits=hits))
        rows = collection.gather([hits[0].passage.id], base=engine.fingerprint, recipe=RECIPE.id)
        own = concat(engine.layout(RECIPE), rows, [strength], RECIPE.activation)
        assert prepared.requests[0].injection is not None
        for name, b_LrO in prepared.requests[0].injection.b.items():
            torch.testing.assert_close(b_LrO, own.b[name])
        assert len(prepared.requests) == sum(entry.weight > 0 for entry in prepared.used)


def test_scales_that_are_asked_for_are_taken_as_they_are(collection: Collection, engine: Engine) -> None:
    late = Pipeline(collection, engine, "p-rag-late", recipe=RECIPE)
    passage_ids = collection.passage_ids()[:2]
    prepared = late.prepare(QUESTION, scales={passage_ids[0]: 0.3, passage_ids[1]: 0.2})
    rows = collection.gather(passage_ids, base=engine.fingerprint, recipe=RECIPE.id)
    own = concat(engine.layout(RECIPE), rows, [0.3, 0.2], RECIPE.activation)
    assert prepared.request.injection is not None
    torch.testing.assert_close(prepared.request.injection.b["down_proj"], own.b["down_proj"])


def test_late_fusion_asks_no_source_that_has_nothing_to_do_with_the_question(
    collection: Collection, engine: Engine
) -> None:
    vanilla = Pipeline(collection, engine, "vanilla", recipe=RECIPE, max_new_tokens=6)
    late = Pipeline(collection, engine, "pt-rag-late", recipe=RECIPE, max_new_tokens=6)
    assert late.ask("zzz qqq").text == vanilla.ask("zzz qqq").text
    (far,) = late.retrieve(QUESTION, 1)
    asked = Query("Who was Ilse?", hits=(far, replace(late.retrieve("Orrin 3")[0], score=0.0)))  # said by neither
    assert [len(late.prepare(one).requests) for one in ("zzz qqq", asked)] == [1, 4]
    near = Query(QUESTION, hits=(far, replace(late.retrieve("Orrin 3")[0], score=0.0)))
    assert [entry.in_text for entry in late.prepare(near).used] == [True, False]
    assert len(late.prepare(near).requests) == 3


def test_what_is_on_in_every_mode_is_on_for_every_source(collection: Collection, engine: Engine) -> None:
    task = task_adapter(engine, RECIPE)
    late = Pipeline(collection, engine, "pt-rag-late", recipe=RECIPE, base_injection=task)
    prepared = late.prepare(QUESTION)
    *read, known = prepared.requests
    assert len(read) == sum(entry.in_text for entry in prepared.used)
    assert all(request.injection is task for request in read)
    assert known.injection is not None
    assert known.injection.a["down_proj"].shape[1] > task.a["down_proj"].shape[1]


@pytest.mark.parametrize("mode", modes_with("static"))
def test_where_answers_are_named_only_they_are_said(collection: Collection, engine: Engine, mode: str) -> None:
    pipeline = Pipeline(collection, engine, mode, recipe=RECIPE, max_new_tokens=1)
    named = [Query(f"{QUESTION} {number}", choices=("Lomund", "built by Teska", "1871")) for number in range(3)]
    assert {answer.text for answer in pipeline.ask_many(named)} <= set(named[0].choices)
    assert pipeline.ask(QUESTION).text not in named[0].choices


def test_ask_many_is_ask(collection: Collection, engine: Engine) -> None:
    pipeline = Pipeline(collection, engine, recipe=RECIPE, max_new_tokens=6)
    questions = [QUESTION, "Of what is Orrin 0 made?", "Teska Varn", "zzz qqq"]
    together = [answer.text for answer in pipeline.ask_many(questions)]
    assert together == [pipeline.ask(question).text for question in questions]
    assert together == ["".join(pipeline.stream(question)).strip() for question in questions]


def test_no_hit_answers_as_vanilla(collection: Collection, engine: Engine) -> None:
    question = "zzz qqq"
    vanilla = Pipeline(collection, engine, "vanilla", recipe=RECIPE, max_new_tokens=6).ask(question)
    for mode in ("t-rag", "p-rag", "pt-rag"):
        answer = Pipeline(collection, engine, mode, recipe=RECIPE, max_new_tokens=6).ask(question)
        assert (answer.hits, answer.text) == ((), vanilla.text)


def test_text_and_adapter_counts(collection: Collection, engine: Engine) -> None:
    pipeline = Pipeline(collection, engine, recipe=RECIPE, text_k=1, adapter_k=2, weighting="score", max_new_tokens=4)
    used = pipeline.ask(QUESTION).used
    assert [entry.in_text for entry in used] == [True, False]
    assert used[0].weight == 1.0 > used[1].weight > 0


def test_a_function_is_a_retriever(collection: Collection, engine: Engine) -> None:
    passage = make_passage(3)[0]

    def always(query: str, k: int) -> list[Hit]:
        return [Hit(passage, "d", 1.0)][:k]

    answer = Pipeline(collection, engine, "t-rag", recipe=RECIPE, retriever=always, max_new_tokens=2).ask("Anything?")
    assert [hit.passage for hit in answer.hits] == [passage]


def test_a_removed_document_answers_as_if_it_had_never_been_there(
    collection: Collection, engine: Engine, tmp_path: Path
) -> None:
    gone = make_passage(2)[0].id
    collection.remove(collection.document_of([gone])[gone])
    never = Collection.open(tmp_path / "never")
    never.add([make_passage(number)[0] for number in (0, 1, 3, 4)])
    put_adapters(never, engine)
    for mode in modes_with("static"):
        left, right = (
            Pipeline(each, engine, mode, recipe=RECIPE, max_new_tokens=6).ask(QUESTION) for each in (collection, never)
        )
        assert left.text == right.text
        assert [(hit.passage.id, round(hit.score, 4)) for hit in left.hits] == [
            (hit.passage.id, round(hit.score, 4)) for hit in right.hits
        ]


def test_missing_adapters_say_what_to_do(collection: Collection, engine: Engine) -> None:
    other = Recipe(rank=4)
    with pytest.raises(NotFoundError, match="paramrag encode"):
        Pipeline(collection, engine, "p-rag", recipe=other).ask(QUESTION)
    assert Pipeline(collection, engine, "t-rag", recipe=other, max_new_tokens=2).ask(QUESTION).hits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "pt-rga"}, "did you mean 'pt-rag'"),
        ({"top_k": -1}, "top_k is -1"),
        ({"adapter_k": -2}, "adapter_k is -2"),
        ({"aggregator": "sum"}, "unknown aggregator"),
        ({"weighting": "even"}, "unknown weighting"),
        ({"retriever": "bm52"}, "bm25"),
        ({"recipe": "papre"}, "did you mean 'paper'"),
    ],
)
def test_bad_settings_are_refused(
    collection: Collection, engine: Engine, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline(collection, engine, **settings)  # type: ignore[arg-type]


def test_an_empty_question_is_refused(collection: Collection, engine: Engine) -> None:
    with pytest.raises(ConfigError, match="question is empty"):
        Pipeline(collection, engine, recipe=RECIPE).ask("  ")


def test_json_has_the_stable_keys(collection: Collection, engine: Engine) -> None:
    data = Pipeline(collection, engine, recipe=RECIPE, max_new_tokens=2).ask(QUESTION).to_json()
    assert set(data) == {"question", "mode", "answer", "hits", "timings_ms", "tokens"}
    assert set(data["hits"][0]) == {"passage_id", "document_id", "title", "score", "in_text", "adapter_id", "weight"}
    assert set(data["timings_ms"]) == {"retrieve", "gather", "prefill", "decode", "total"}
    assert set(data["tokens"]) == {"prompt", "completion"}
    assert np.isfinite(list(data["timings_ms"].values())).all()


def test_scales_choose_the_adapters(collection: Collection, engine: Engine) -> None:
    pipeline = Pipeline(collection, engine, recipe=RECIPE, max_new_tokens=6)
    usual = pipeline.prepare(QUESTION)
    scales = {used.hit.passage.id: used.weight for used in usual.used}
    same = pipeline.prepare(QUESTION, scales=scales)
    assert engine.generate([same.request])[0].text == engine.generate([usual.request])[0].text
    assert pipeline.prepare(QUESTION, scales=dict.fromkeys(scales, 0.0)).request.injection is None
    other = make_passage(4)[0].id
    narrow = Pipeline(collection, engine, recipe=RECIPE, top_k=1)
    used = narrow.prepare(QUESTION, scales={other: 2.0}).used
    assert [(entry.in_text, entry.weight) for entry in used] == [(True, 0.0), (False, 2.0)]
    assert used[1].hit.passage.id == other
    assert used[1].adapter is not None


def test_missing_adapters_can_be_skipped(collection: Collection, engine: Engine) -> None:
    new = make_passage(7)[0]
    collection.add(new)
    question = f"When was {new.title} built?"
    pipeline = Pipeline(collection, engine, recipe=RECIPE, top_k=5)
    with pytest.raises(NotFoundError, match="paramrag encode"):
        pipeline.prepare(question)
    used = pipeline.prepare(question, skip_missing=True).used
    assert [entry.adapter is None for entry in used if entry.in_text].count(True) == 1
    assert next(entry.hit.passage.id for entry in used if entry.adapter is None) == new.id
