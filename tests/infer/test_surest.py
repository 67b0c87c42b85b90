"""Which of several answers to one question is given."""

from __future__ import annotations

import pytest

from paramrag.infer import Completion, TokenLogprob, surest


def said(text: str, *logprobs: float, prompt_tokens: int = 10, prefill_ms: float = 1.0) -> Completion:
    tokens = tuple(TokenLogprob(at, value, ()) for at, value in enumerate(logprobs))
    ids = tuple(range(len(logprobs)))
    return Completion(text, ids, "stop", prompt_tokens, 4, 0.0, prefill_ms, 2.0, tokens)


def test_likelihood_is_per_token_and_doubts_are_taken_off() -> None:
    long, short = said("long", -0.2, -0.2, -0.2, -0.2), said("short", -0.5)
    assert surest([short, long]).text == "long"
    assert surest([short, long], [0.0, 0.29]).text == "long"
    assert surest([short, long], [0.0, 0.31]).text == "short"


def test_the_first_of_equals_is_given_and_nothing_comes_last() -> None:
    assert surest([said("a", -1.0), said("b", -1.0)]).text == "a"
    assert surest([said(""), said("b", -50.0)]).text == "b"
    assert surest([said("")]).text == ""


def test_costs_are_those_of_all() -> None:
    chosen = surest([said("a", -1.0, prompt_tokens=7, prefill_ms=5.0), said("b", -2.0, prompt_tokens=30)])
    assert (chosen.text, chosen.prompt_tokens, chosen.reused_tokens) == ("a", 37, 8)
    assert (chosen.prefill_ms, chosen.decode_ms) == (5.0, 2.0)


def test_a_doubt_is_needed_for_each() -> None:
    with pytest.raises(ValueError, match="zip"):
        surest([said("a", -1.0), said("b", -2.0)], [0.0])
