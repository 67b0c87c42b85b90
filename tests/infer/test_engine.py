"""Batches answer as their rows would alone; answer-time activation means what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.dense import dense_updates, greedy
from paramrag.aggregate import concat
from paramrag.config import Recipe
from paramrag.errors import ConfigError, MismatchError
from paramrag.infer import Engine, Request
from paramrag.models import stop_ids
from paramrag.types import Adapter, AdapterKey
from tiny import FAMILIES, layout_of, random_rows, tiny_base

END = 2
TEXTS = ["The mill at Orrin", "Orrin", "The question with a short phrase was built by Teska Varn in 1871.", "The mill"]


def ids(text: str) -> list[int]:
    return list(tiny_base().tokenizer(text)["input_ids"])


def requests(count: int = 12) -> list[Request]:
    """Prompts of all lengths with no, full and answer-time injections, one to three adapters each."""
    base = tiny_base()
    layout = layout_of(base, Recipe(layers="1-3"))
    made = []
    for number in range(count):
        adapters = 1 + number % 3
        activation = ("full", "answer")[number % 2]
        rows = random_rows(layout, adapters, seed=number, size=0.2)
        injection = None if number % 4 == 3 else concat(layout, rows, [1.0] * adapters, activation)
        made.append(Request(ids(TEXTS[number % len(TEXTS)]), injection, max_new_tokens=3 + number % 5))
    return made


def test_batch_equals_rows_one_by_one_in_any_order() -> None:
    engine = Engine(tiny_base(), max_batch=5)
    wanted = requests()
    alone = [engine.generate([request])[0].token_ids for request in wanted]
    assert [completion.token_ids for completion in engine.generate(wanted)] == alone
    assert [completion.token_ids for completion in engine.generate(wanted[::-1])] == alone[::-1]
    assert len(set(alone)) > 6


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("activation", ["full", "answer"])
def test_equals_the_naive_loop(family: str, activation: str) -> None:
    base = tiny_base(family)
    layout = layout_of(base, Recipe(layers="1-3"))
    row = random_rows(layout, 1, size=0.2)
    prompt = ids(TEXTS[2])
    injection = concat(layout, row, [1.0], activation)  # type: ignore[arg-type]
    first = 0 if activation == "full" else len(prompt) - 1
    expected = greedy(base, dense_updates(layout, row[0]), prompt, first, 8)
    until_end = list(itertools.takewhile(lambda token: token != END, expected))
    assert list(Engine(base).generate([Request(prompt, injection, max_new_tokens=8)])[0].token_ids) == until_end


def test_equals_transformers_generate_without_injection() -> None:
    base = tiny_base()
    engine = Engine(base)
    prompts = [ids(text) for text in TEXTS]
    ours = engine.generate([Request(prompt, max_new_tokens=6) for prompt in prompts])
    for prompt, completion in zip(prompts, ours, strict=True):
        theirs = base.model.generate(torch.tensor([prompt]), max_new_tokens=6, do_sample=False)[0, len(prompt) :]
        expected = list(itertools.takewhile(lambda token: token != END, theirs.tolist()))
        assert list(completion.token_ids) == expected
        assert completion.finish_reason == ("length" if len(expected) == 6 else "stop")


def test_a_prompt_of_one_token() -> None:
    completion = Engine(tiny_base()).generate([Request([5], max_new_tokens=2), Request([7, 8, 9], max_new_tokens=2)])
    assert [entry.prompt_tokens for entry in completion] == [1, 3]


def test_stream_gives_the_same_text() -> None:
    engine = Engine(tiny_base())
    for request in requests(4):
        assert "".join(engine.stream(request)) == engine.generate([request])[0].text


def test_stop_string_ends_the_answer_and_is_not_shown() -> None:
    engine = Engine(tiny_base())
    whole = engine.generate([Request(ids(TEXTS[0]), max_new_tokens=12)])[0].text
    stop = whole[4:6]
    request = Request(ids(TEXTS[0]), max_new_tokens=12, stop=(stop,))
    cut = engine.generate([request])[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"
    assert "".join(engine.stream(request)) == cut.text


def test_sampling_depends_on_the_seed_alone() -> None:
    engine = Engine(tiny_base())
    one = Request(ids(TEXTS[0]), max_new_tokens=8, temperature=1.5, seed=3)
    other = Request(ids(TEXTS[0]), max_new_tokens=8, temperature=1.5, seed=4)
    alone = engine.generate([one])[0].token_ids
    both = engine.generate([other, one])
    assert both[1].token_ids == alone
    assert both[0].token_ids != alone


def test_a_tiny_nucleus_is_greedy() -> None:
    engine = Engine(tiny_base())
    sampled = Request(ids(TEXTS[0]), max_new_tokens=5, temperature=1.0, top_p=1e-6)
    assert (
        engine.generate([sampled])[0].token_ids
        == engine.generate([Request(ids(TEXTS[0]), max_new_tokens=5)])[0].token_ids
    )


def chosen_slowly(prompt: list[int], choices: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """The likeliest allowed token, one whole pass after another, until the end is likelier or nothing is left."""
    base, said = tiny_base(), []
    while True:
        with torch.no_grad():
            logits = base.model(torch.tensor([[*prompt, *said]])).logits[0, -1]
        allowed = {
            choice[len(said)] for choice in choices if len(choice) > len(said) and list(choice[: len(said)]) == said
        }
        if tuple(said) in choices:
            allowed |= set(stop_ids(base.tokenizer, base.model))
        token = max(sorted(allowed), key=lambda token: float(logits[token]))
        if token in stop_ids(base.tokenizer, base.model):
            return tuple(said)
        said.append(token)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.integers(5, 12), min_size=1, max_size=4).map(tuple), min_size=1, max_size=5, unique=True).map(
        tuple
    ),
    st.sampled_from(TEXTS),
)
def test_an_answer_among_choices_is_one_of_them(choices: tuple[tuple[int, ...], ...], text: str) -> None:
    prompt = ids(text)
    free, bound = Engine(tiny_base()).generate([Request(prompt), Request(prompt, choices=choices)])
    assert bound.token_ids in choices
    assert bound.token_ids == chosen_slowly(prompt, choices)
    assert bound.finish_reason == "stop"
    assert free.token_ids == Engine(tiny_base()).generate([Request(prompt)])[0].token_ids


def test_choices_hold_when_sampling_and_streaming() -> None:
    engine, choices = Engine(tiny_base()), ((7, 8), (9,), (7, 8, 10))
    drawn = {
        engine.generate([Request(ids(TEXTS[0]), temperature=50.0, seed=seed, choices=choices)])[0].token_ids
        for seed in range(40)
    }
    assert drawn == set(choices)
    request = Request(ids(TEXTS[0]), choices=choices)
    assert "".join(engine.stream(request)) == engine.generate([request])[0].text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompt_ids": []}, "empty prompt"),
        ({"prompt_ids": [1], "max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"prompt_ids": [1], "temperature": -1.0}, "temperature"),
        ({"prompt_ids": [1], "top_p": 0.0}, "top_p"),
        ({"prompt_ids": [1], "choices": ((3,), ())}, "one of the 2 choices is empty"),
    ],
)
def test_bad_requests_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Request(**wrong)  # type: ignore[arg-type]


def test_nothing_to_answer() -> None:
    assert Engine(tiny_base()).generate([]) == []


def test_an_adapter_of_another_base_model_is_refused() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe())
    engine = Engine(base)
    adapter = Adapter(AdapterKey("p", "another", "r"), np.zeros(layout.size, np.float32), layout)
    with pytest.raises(MismatchError, match="made for base model another"), engine.inject(adapter):
        pass
    own = Adapter(AdapterKey("p", engine.fingerprint, "r"), random_rows(layout, 1)[0], layout)
    before = engine.logits("Orrin")
    with engine.inject(own, scale=0.0):
        torch.testing.assert_close(engine.logits("Orrin"), before)
