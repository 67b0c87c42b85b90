"""Teacher forcing gives what a plain forward pass over the whole sequence gives, for every injection in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from oracles.dense import dense_updates, on_from
from paramrag.aggregate import concat
from paramrag.analyze.forcing import Forced
from paramrag.config import Recipe
from paramrag.errors import ConfigError
from paramrag.infer import Engine, Request
from paramrag.types import Activation
from tiny import FAMILIES, layout_of, random_rows, tiny_base

PROMPT = "Who built the mill at Orrin in the year 1871 of red oak? " * 2
RESPONSE = "Teska Varn built it"


def _ids(text: str) -> list[int]:
    return list(tiny_base().tokenizer(text)["input_ids"])


@pytest.mark.parametrize("activation", ["answer", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_definition(family: str, activation: Activation) -> None:
    base = tiny_base(family)
    layout = layout_of(base, Recipe(layers="1-3"))
    rows = random_rows(layout, 2)
    injections = [None, *(concat(layout, row[None], [1.0], activation) for row in rows)]
    prompt, response = _ids(PROMPT), _ids(RESPONSE)
    found = Forced(base, prompt, injections).log_probs(response)
    sequence = torch.tensor([[*prompt, *response]])
    first = len(prompt) - 1 if activation == "answer" else 0
    for row, updates in enumerate([{}, *(dense_updates(layout, each) for each in rows)]):
        with torch.no_grad(), on_from(base, updates, first):
            logits = base.model(input_ids=sequence, use_cache=False).logits[0, len(prompt) - 1 : -1]
        wanted = logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])[:, 0]
        torch.testing.assert_close(found[row], wanted, atol=2e-4, rtol=1e-4)
    assert (found[0] - found[1]).abs().max() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_response_does_not_know_of_the_first(family: str) -> None:
    base = tiny_base(family)
    forced = Forced(base, _ids(PROMPT), [None])
    alone = Forced(base, _ids(PROMPT), [None]).log_probs(_ids("red oak"))
    forced.log_probs(_ids(RESPONSE * 20))
    torch.testing.assert_close(forced.log_probs(_ids("red oak")), alone)


def test_the_greedy_answer_is_the_likeliest_at_every_position() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe())
    injection = concat(layout, random_rows(layout, 1), [1.0], "answer")
    prompt = _ids(PROMPT)
    response = Engine(base).generate([Request(prompt, injection, max_new_tokens=8)])[0].token_ids
    states = Forced(base, prompt, [injection]).run(response)
    assert tuple(base.head(states[0], normed=True).argmax(-1).tolist()) == response


def test_a_prompt_of_one_token() -> None:
    base = tiny_base()
    found = Forced(base, [5], [None, None]).log_probs([7, 9])
    with torch.no_grad():
        logits = base.model(input_ids=torch.tensor([[5, 7]])).logits[0].log_softmax(-1)
    torch.testing.assert_close(found[1], logits[[0, 1], [7, 9]])


def test_watching_is_on_while_the_response_runs_only() -> None:
    base = tiny_base()
    seen: list[str] = []

    @contextmanager
    def note(name: str) -> Iterator[None]:
        seen.append(name)
        yield
        seen.append(f"{name} over")

    forced = Forced(base, _ids(PROMPT), reading=note("read"))
    forced.run([3], note("run"))
    assert seen == ["read", "read over", "run", "run over"]


def test_bad_input_is_refused() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe())
    both = [concat(layout, random_rows(layout, 1), [1.0], activation) for activation in ("full", "answer")]
    for prompt, injections in (([], [None]), ([1], []), ([1], both)):
        with pytest.raises(ConfigError, match="at least one of each"):
            Forced(base, prompt, injections)
    with pytest.raises(ConfigError, match="no token"):
        Forced(base, [1], [None]).run([])
