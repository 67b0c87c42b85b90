"""OpenAI's own client against the real server: what it gets is what the pipeline would answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from paramrag import MODES, Pipeline
from paramrag.models import chat_ids
from paramrag.models.prompts import DEFAULT_SYSTEM, user_turn

from .conftest import RECIPE, RECIPES, TEXTS, Running

QUESTION = "Who designed the Zorbik Tower?"
ASK = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def client(server: Running) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0, timeout=60)


def test_one_model_per_mode(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [f"tiny-llama:{mode}" for mode in MODES]
    assert client.models.retrieve("tiny-llama:pt-rag").id == "tiny-llama:pt-rag"


@pytest.mark.parametrize("mode", MODES)
def test_chat_answers_as_the_pipeline_does(server: Running, client: OpenAI, mode: str) -> None:
    recipe = RECIPES[MODES[mode].parameterizer]
    expected = Pipeline(server.collection, server.engine, mode, recipe=recipe, max_new_tokens=7).ask(QUESTION)
    answer = client.chat.completions.create(
        model=f"tiny-llama:{mode}", messages=ASK, max_tokens=7, extra_body={"references": True}
    )
    assert (answer.choices[0].message.content or "").strip() == expected.text
    assert answer.choices[0].finish_reason == expected.finish_reason
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == expected.trace.prompt_tokens
    assert answer.usage.completion_tokens == expected.trace.completion_tokens
    hits = expected.to_json()["hits"]
    references = answer.model_extra["references"]  # type: ignore[index]
    assert [{key: entry[key] for key in hit} for hit, entry in zip(hits, references, strict=True)] == hits
    assert all(entry["text"] == TEXTS[entry["document_id"]] for entry in references)


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_has_the_same_text(client: OpenAI, mode: str) -> None:
    options = {"model": f"tiny-llama:{mode}", "messages": ASK, "max_tokens": 9}
    whole = client.chat.completions.create(**options)  # type: ignore[call-overload]
    stream = client.chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}, extra_body={"references": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert bool(chunks[0].model_extra["references"]) == (mode != "vanilla")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-2].model_extra["timings_ms"]["total"] > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_completions_go_on_with_a_text(server: Running, client: OpenAI) -> None:
    ids = list(server.engine.base.tokenizer("The mill at").input_ids)
    from paramrag.infer import Request

    expected = server.engine.generate([Request(ids, max_new_tokens=5)])[0].text
    answer = client.completions.create(model="tiny-llama:vanilla", prompt="The mill at", max_tokens=5, logprobs=2)
    assert answer.choices[0].text == expected
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert len(logprobs.top_logprobs[0]) <= 2  # type: ignore[index,arg-type]
    tokens, offsets = logprobs.tokens or [], logprobs.text_offset or []
    assert offsets == [len("".join(tokens[:at])) for at in range(answer.usage.completion_tokens)]  # type: ignore[union-attr]
    options = {"model": "tiny-llama:vanilla", "prompt": "The mill at", "max_tokens": 5, "logprobs": 2, "stream": True}
    chunks = list(client.completions.create(**options))  # type: ignore[call-overload]
    assert [
        at for chunk in chunks if chunk.choices[0].logprobs for at in chunk.choices[0].logprobs.text_offset
    ] == offsets
    stream = client.completions.create(model="tiny-llama:vanilla", prompt="The mill at", max_tokens=5, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == expected


def test_stop_logprobs_and_seed(client: OpenAI) -> None:
    options = {"model": "tiny-llama:t-rag", "messages": ASK, "max_tokens": 12}
    plain = client.chat.completions.create(**options, logprobs=True, top_logprobs=2)  # type: ignore[call-overload]
    text = plain.choices[0].message.content
    entries = plain.choices[0].logprobs.content
    assert len(entries) == plain.usage.completion_tokens
    assert all(entry.top_logprobs[0].logprob == entry.logprob for entry in entries)  # greedy
    stopped = client.chat.completions.create(**options, stop=[text[3:5]])  # type: ignore[call-overload]
    assert stopped.choices[0].message.content == text[: text.index(text[3:5])]
    assert stopped.choices[0].finish_reason == "stop"

    def sampled(**settings: object) -> str:
        answer = client.chat.completions.create(**options, temperature=1.5, **settings)  # type: ignore[call-overload]
        return str(answer.choices[0].message.content)

    assert sampled(seed=3) == sampled(seed=3)
    assert len({sampled(), sampled(), sampled()}) > 1


def test_the_last_user_turn_is_searched_and_the_conversation_is_in_the_prompt(server: Running, client: OpenAI) -> None:
    turns = [
        {"role": "user", "content": "Who steers the ferry?"},
        {"role": "assistant", "content": "Ilse Dorn"},
        {"role": "user", "content": QUESTION},
    ]
    answer = client.chat.completions.create(
        model="tiny-llama:t-rag",
        messages=turns,
        max_tokens=4,
        extra_body={"references": True},  # type: ignore[arg-type]
    )
    assert answer.model_extra["retrieval_query"] == QUESTION  # type: ignore[index]
    hits = Pipeline(server.collection, server.engine, "t-rag", recipe=RECIPE).retrieve(QUESTION)
    last = {"role": "user", "content": user_turn(QUESTION, [hit.passage for hit in hits])}
    ids = chat_ids(server.engine.base.tokenizer, [{"role": "system", "content": DEFAULT_SYSTEM}, *turns[:2], last])
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(ids)
    rewritten = client.chat.completions.create(
        model="tiny-llama:t-rag",
        messages=turns,  # type: ignore[arg-type]
        max_tokens=4,
        extra_body={"references": True, "rewrite": True},
    )
    assert rewritten.model_extra["retrieval_query"]  # type: ignore[index]
    assert rewritten.model_extra["retrieval_query"] != QUESTION  # type: ignore[index]


def test_an_answer_can_be_sent_back_as_it_came(client: OpenAI) -> None:
    messages: list[Any] = [*ASK]
    first = client.chat.completions.create(model="tiny-llama:t-rag", messages=messages, max_tokens=4)
    messages += [first.choices[0].message, {"role": "user", "content": "And when?"}]
    second = client.chat.completions.create(
        model="tiny-llama:t-rag", messages=messages, max_tokens=4, service_tier="auto", extra_body={"references": True}
    )
    assert second.model_extra["retrieval_query"] == "And when?"  # type: ignore[index]
    everything = {**first.choices[0].message.model_dump(), "annotations": [], "tool_calls": []}
    client.chat.completions.create(model="tiny-llama:t-rag", messages=[*ASK, everything, *ASK], max_tokens=1)


def test_lora_scales_decide_what_is_injected(server: Running, client: OpenAI) -> None:
    def ask(mode: str = "pt-rag", **extra: object) -> tuple[str, list[dict[str, object]]]:
        answer = client.chat.completions.create(
            model=f"tiny-llama:{mode}", messages=ASK, max_tokens=9, extra_body={"references": True, **extra}
        )
        return str(answer.choices[0].message.content), answer.model_extra["references"]  # type: ignore[index]

    usual, references = ask()
    same, _ = ask(lora=[{"id": entry["adapter_id"], "scale": entry["weight"]} for entry in references])
    assert same == usual
    none, _ = ask(lora=[])
    assert none == ask("t-rag")[0] != usual
    ferry = server.collection.search("ferry Brask", 1)[0].passage.id
    _, changed = ask(lora=[{"id": ferry, "scale": 2}])
    assert {entry["passage_id"]: entry["weight"] for entry in changed if entry["weight"]} == {ferry: 2}
    with pytest.raises(BadRequestError, match="injects no adapters"):
        ask("t-rag", lora=[{"id": ferry, "scale": 1}])
    with pytest.raises(BadRequestError, match="recipe abc"):
        ask(lora=[{"id": f"{ferry}-abc", "scale": 1}])
    with pytest.raises(NotFoundError, match="0000"):
        ask(lora=[{"id": "0000", "scale": 1}])


@pytest.mark.parametrize("mode", ["vanilla", "pt-rag"])
def test_only_one_of_the_given_choices_is_said(client: OpenAI, mode: str) -> None:
    choices = ["SUPPORTS", "REFUTES", "blue whale"]

    def ask(**extra: object) -> str:
        answer = client.chat.completions.create(
            model=f"tiny-llama:{mode}", messages=ASK, max_tokens=16, temperature=2, extra_body=extra
        )
        return str(answer.choices[0].message.content)

    assert {ask(guided_choice=choices, seed=seed) for seed in range(12)} <= set(choices)
    assert ask(seed=0) not in choices
    with pytest.raises(BadRequestError, match="guided_choice"):
        ask(guided_choice=["yes", ""])


def test_retrieve_finds_passages(server: Running) -> None:
    with server.http() as http:
        data = http.post("/v1/retrieve", json={"query": QUESTION, "top_k": 1}).json()["data"]
    assert [(entry["document_id"], entry["text"]) for entry in data] == [("tower", TEXTS["tower"])]
    assert data[0]["adapter_id"] == f"{data[0]['passage_id']}-{RECIPE.id}"


def test_metrics_health_and_schema(server: Running, client: OpenAI) -> None:
    client.chat.completions.create(model="tiny-llama:t-rag", messages=ASK, max_tokens=2)  # type: ignore[call-overload]
    with server.http() as http:
        assert http.get("/health").json() == {"status": "ok"}
        assert http.get("/ready").json() == {"status": "ready"}
        numbers = http.get("/metrics").text
        assert 'paramrag_requests_total{endpoint="/v1/chat/completions",mode="t-rag",status="200"}' in numbers
        for name in (
            "queue_requests",
            "batch_rows",
            "generated_tokens_total",
            "prefix_cache_hit_tokens_total",
            "adapter_cache_hits_total",
        ):
            assert f"\nparamrag_{name} " in numbers
        assert 'paramrag_stage_seconds_count{stage="decode"}' in numbers
        assert "/v1/chat/completions" in http.get("/openapi.json").json()["paths"]
        page = http.get("/")
        assert page.status_code == 200
        assert "default-src 'self'" in page.headers["content-security-policy"]


def test_a_stream_is_made_of_events(server: Running) -> None:
    body = {"model": "tiny-llama:vanilla", "messages": ASK, "max_tokens": 3, "stream": True}
    with server.http() as http:
        lines = http.post("/v1/chat/completions", json=body).text.strip().split("\n\n")
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["object"] == "chat.completion.chunk" for line in lines[:-1])


def test_an_answer_is_explained(server: Running) -> None:
    with server.http() as http:
        models = [entry["id"] for entry in http.get("/v1/models").json()["data"]]
        both = next(model for model in models if model.endswith(":pt-rag"))
        body = {"model": both, "question": "Who designed the Zorbik Tower?", "max_tokens": 4}
        found = http.post("/v1/explain", json=body).json()
        messages = [{"role": "user", "content": body["question"]}]
        chat = http.post("/v1/chat/completions", json={"model": both, "messages": messages, "max_tokens": 4}).json()
        assert found["answer"] == chat["choices"][0]["message"]["content"].strip()
        kinds = [(effect["kind"], effect["passage_id"] is None) for effect in found["effects"]]
        assert kinds == [("adapter", True), ("adapter", False), ("text", True), ("text", False)]
        assert all(len(effect["tokens"]) == len(found["tokens"]) for effect in found["effects"])
        one = found["effects"][1]["passage_id"]
        alone = http.post("/v1/explain", json={**body, "lora": [{"id": one, "scale": 1.5}]}).json()
        assert [effect["passage_id"] for effect in alone["effects"] if effect["kind"] == "adapter"] == [None, one]
        bare = next(model for model in models if model.endswith(":vanilla"))
        assert http.post("/v1/explain", json={**body, "model": bare}).json()["effects"] == []
        refused = http.post("/v1/explain", json={**body, "max_tokens": 65})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "max_tokens")
        assert http.post("/v1/explain", json={**body, "model": "none"}).status_code == 404
