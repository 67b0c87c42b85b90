"""Whatever company a request has, and whenever it comes, it gets the answer it would get alone."""

from __future__ import annotations

import itertools
import threading
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.dense import dense_updates, greedy
from paramrag.aggregate import concat
from paramrag.config import Recipe
from paramrag.errors import MismatchError
from paramrag.infer import Completion, Engine, Request, Scheduler, Ticket, Update, injected, stack
from paramrag.infer.injection import FactorRows
from paramrag.models import stop_ids
from tiny import FAMILIES, layout_of, random_rows, tiny_base

END = 2
SYSTEM = "Answer the question with a short phrase. The mill at Orrin was built by Teska Varn in 1871. "
TEXTS = (  # several begin alike, some are longer than the sliding window of 64 tokens
    "Orrin",
    SYSTEM + "user",
    SYSTEM + "The mill at Orrin",
    SYSTEM * 3 + "question?",
    SYSTEM * 3 + "phrase?",
    "system system user The question was built",
)


def scheduler_of(family: str = "llama", **options: int) -> Scheduler:
    base = tiny_base(family)
    return Scheduler(base, frozenset(stop_ids(base.tokenizer, base.model)), **options)


@cache
def wanted(family: str = "llama") -> tuple[Request, ...]:
    """Prompts of all lengths, with no, full and answer-time injections of several ranks and layers."""
    base = tiny_base(family)
    made = []
    for number, text in enumerate(TEXTS * 2):
        recipe = Recipe(layers=("1-3", "2-3")[number % 2], rank=1 + number % 2)
        layout = layout_of(base, recipe)
        adapters = 1 + number % 3
        activation = ("answer", "full")[number % 2]
        rows = random_rows(layout, adapters, seed=number, size=0.2)
        injection = None if number % 4 == 2 else concat(layout, rows, [1.0] * adapters, activation)
        ids = tuple(base.tokenizer(text)["input_ids"])
        made.append(Request(ids, injection, max_new_tokens=2 + number % 6))
    return tuple(made)


@cache
def alone(family: str = "llama") -> tuple[tuple[int, ...], ...]:
    """The answers, each in an engine of its own."""
    return tuple(Engine(tiny_base(family)).generate([request])[0].token_ids for request in wanted(family))


def run(scheduler: Scheduler, limit: int = 2000) -> None:
    for _ in range(limit):
        if not scheduler.step():
            return
    raise AssertionError("the scheduler never comes to an end")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [3, 4])
def test_a_long_prompt_in_chunks_equals_the_naive_loop(family: str, number: int) -> None:
    """The oracle reads all tokens anew for every token, through weights that have the updates added."""
    base = tiny_base(family)
    layout = layout_of(base, Recipe(layers="1-3"))
    row = random_rows(layout, 1, size=0.2)
    prompt = list(base.tokenizer(TEXTS[number])["input_ids"])
    assert len(prompt) > 64
    for activation in ("full", "answer"):
        first = 0 if activation == "full" else len(prompt) - 1
        expected = list(
            itertools.takewhile(
                lambda token: token != END, greedy(base, dense_updates(layout, row[0]), prompt, first, 6)
            )
        )
        scheduler = scheduler_of(family, chunk_tokens=17)
        ticket = scheduler.submit(Request(prompt, concat(layout, row, [1.0], activation), max_new_tokens=6))  # type: ignore[arg-type]
        run(scheduler)
        assert ticket.completion is not None
        assert list(ticket.completion.token_ids) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_in_a_batch_as_alone(family: str) -> None:
    scheduler = scheduler_of(family, max_batch=5, chunk_tokens=40, prefix_cache_bytes=1 << 20)
    for _ in range(2):  # the second time from the prefix cache
        tickets = [scheduler.submit(request) for request in wanted(family)]
        run(scheduler)
        assert tuple(ticket.completion.token_ids for ticket in tickets if ticket.completion) == alone(family)
    assert len(set(alone(family))) > 6


@settings(max_examples=12, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, len(TEXTS) * 2 - 1), st.integers(0, 3), st.booleans()), min_size=1, max_size=14
    ),
    max_batch=st.integers(1, 6),
    chunk_tokens=st.sampled_from([1, 5, 32, 512]),
    cache_bytes=st.sampled_from([0, 60_000, 1 << 20]),
)
def test_any_order_of_arrival_with_some_given_up(
    arrivals: list[tuple[int, int, bool]], max_batch: int, chunk_tokens: int, cache_bytes: int
) -> None:
    scheduler = scheduler_of(max_batch=max_batch, chunk_tokens=chunk_tokens, prefix_cache_bytes=cache_bytes)
    running: list[tuple[int, Ticket]] = []
    for number, steps, given_up in arrivals:
        ticket = scheduler.submit(wanted()[number])
        for _ in range(steps):
            scheduler.step()
        if given_up:
            scheduler.cancel(ticket)
        else:
            running.append((number, ticket))
    run(scheduler)
    for number, ticket in running:
        assert ticket.completion is not None
        assert ticket.completion.token_ids == alone()[number]
    stats = scheduler.stats()
    assert (stats.waiting, stats.reading, stats.decoding) == (0, 0, 0)
    assert stats.prefix_bytes <= cache_bytes


def test_a_row_that_is_given_up_is_free_at_once() -> None:
    scheduler = scheduler_of(max_batch=1)
    long = Request(wanted()[0].prompt_ids, max_new_tokens=500)
    heard: list[Update] = []
    first = scheduler.submit(long, heard.append)
    second = scheduler.submit(wanted()[5])
    for _ in range(3):
        scheduler.step()
    assert scheduler.stats().decoding == 1
    count = len(heard)
    scheduler.cancel(first)
    scheduler.step()
    assert scheduler.stats().waiting == 0  # the second has the row
    run(scheduler)
    assert second.completion is not None
    assert second.completion.token_ids == alone()[5]
    assert len(heard) == count
    assert first.completion is None


def test_a_short_prompt_overtakes_a_long_one() -> None:
    scheduler = scheduler_of(chunk_tokens=8)
    long = scheduler.submit(Request(list(wanted()[3].prompt_ids) * 3, max_new_tokens=2))
    scheduler.step()
    short = scheduler.submit(wanted()[0])
    while not short.done:
        scheduler.step()
    assert not long.done
    run(scheduler)
    assert long.done


def test_decoding_goes_on_while_a_long_prompt_is_read() -> None:
    scheduler = scheduler_of(chunk_tokens=8)
    answering = scheduler.submit(Request(wanted()[0].prompt_ids, max_new_tokens=12))
    scheduler.step()
    scheduler.submit(Request(list(wanted()[3].prompt_ids) * 4, max_new_tokens=1))
    while not answering.done:
        scheduler.step()
    assert scheduler.stats().reading == 1


def test_a_short_prompt_is_answered_in_the_step_that_reads_it() -> None:
    scheduler = scheduler_of()
    others = [scheduler.submit(Request(wanted()[number].prompt_ids, max_new_tokens=40)) for number in (0, 5)]
    scheduler.step()
    heard: list[Update] = []
    scheduler.submit(Request(wanted()[1].prompt_ids, wanted()[1].injection, max_new_tokens=5), heard.append)
    scheduler.step()
    assert len(heard) == 1
    assert scheduler.stats().decoding == 3
    assert scheduler.stats().decoded_rows == 5
    assert not any(other.done for other in others)


def test_no_more_is_read_in_a_step_than_is_allowed() -> None:
    scheduler = scheduler_of(chunk_tokens=8, max_batch=3)
    for _ in range(5):
        scheduler.submit(Request(wanted()[3].prompt_ids, wanted()[3].injection, max_new_tokens=1))
    lengths = [len(wanted()[3].prompt_ids)] * 5
    steps = 1
    while scheduler.step():
        steps += 1
    assert steps >= (sum(lengths) - 5) / 8


def test_what_prompts_begin_with_is_read_once_for_every_mode() -> None:
    scheduler = scheduler_of(prefix_cache_bytes=1 << 20)
    layout = layout_of(tiny_base(), Recipe(layers="1-3"))
    prompt = wanted()[3].prompt_ids
    seen = []
    for injection in (None, concat(layout, random_rows(layout, 2, size=0.2), [1.0, 0.5], "answer")):
        ticket = scheduler.submit(Request(prompt, injection, max_new_tokens=4))
        run(scheduler)
        assert ticket.completion is not None
        assert ticket.completion.token_ids == Engine(tiny_base()).generate([ticket.request])[0].token_ids
        seen.append(ticket.completion.reused_tokens)
    assert seen == [0, len(prompt) - 1]
    full = scheduler.submit(wanted()[3])  # full: the prompt's keys are not the base model's
    run(scheduler)
    assert full.completion is not None
    assert full.completion.reused_tokens == 0
    scheduler.forget_prefixes()
    assert scheduler.stats().prefixes == 0


def test_the_prefix_cache_keeps_to_its_bound() -> None:
    scheduler = scheduler_of(prefix_cache_bytes=200_000)
    for number in range(30):
        scheduler.submit(Request([3 + number, *range(10, 10 + 40 + number)], max_new_tokens=1))
        run(scheduler)
    stats = scheduler.stats()
    assert 0 < stats.prefix_bytes <= 200_000
    assert stats.prefixes < 30


def test_another_question_about_the_same_passages_is_not_kept_beside_them() -> None:
    scheduler = scheduler_of(prefix_cache_bytes=1 << 20)
    passages = list(range(10, 110))
    reused = []
    for question in ([5, 6], [7, 8, 9], list(range(200, 260))):
        ticket = scheduler.submit(Request([*passages, *question, 4], max_new_tokens=1))
        run(scheduler)
        assert ticket.completion is not None
        reused.append((ticket.completion.reused_tokens, scheduler.stats().prefixes))
    assert reused == [(0, 1), (100, 1), (100, 2)]


def test_a_batch_begins_alike_and_reads_that_once() -> None:
    scheduler = scheduler_of()
    tickets = [scheduler.submit(Request(wanted()[number].prompt_ids, max_new_tokens=2)) for number in (3, 4)]
    run(scheduler)
    reused = [ticket.completion.reused_tokens for ticket in tickets if ticket.completion]
    assert min(reused) == 0
    assert max(reused) > 64


def test_updates_add_up_to_the_completion() -> None:
    scheduler = scheduler_of()
    heard: list[Update] = []
    ticket = scheduler.submit(Request(wanted()[1].prompt_ids, max_new_tokens=6, logprobs=3), heard.append)
    run(scheduler)
    assert ticket.completion is not None
    assert "".join(update.text for update in heard) == ticket.completion.text
    assert [update.completion for update in heard[:-1]] == [None] * (len(heard) - 1)
    assert heard[-1].completion is ticket.completion
    assert tuple(entry for update in heard for entry in update.logprobs) == ticket.completion.logprobs


def test_logprobs_are_those_of_the_model() -> None:
    base = tiny_base()
    prompt = list(wanted()[1].prompt_ids)
    completion = Engine(base).generate([Request(prompt, max_new_tokens=4, logprobs=5)])[0]
    assert [entry.token_id for entry in completion.logprobs] == list(completion.token_ids)
    for at, entry in enumerate(completion.logprobs):
        with torch.no_grad():
            ids = torch.tensor([prompt + list(completion.token_ids[:at])])
            expected = base.model(input_ids=ids).logits[0, -1].log_softmax(-1)
        assert entry.logprob == pytest.approx(float(expected[entry.token_id]), abs=1e-4)
        assert [token for token, _ in entry.top] == expected.topk(5).indices.tolist()
        assert entry.top[0] == (entry.token_id, entry.logprob)  # greedy


def test_a_failing_model_fails_who_is_running_and_nobody_after() -> None:
    scheduler = scheduler_of()
    heard: list[Update] = []
    ticket = scheduler.submit(Request([10**9, 5], max_new_tokens=2), heard.append)
    with pytest.raises(IndexError):
        scheduler.step()
    assert isinstance(ticket.error, IndexError)
    assert heard[-1].error is ticket.error
    after = scheduler.submit(wanted()[0])
    run(scheduler)
    assert after.completion is not None
    assert after.completion.token_ids == alone()[0]
    with pytest.raises(IndexError):
        Engine(tiny_base()).generate([Request([10**9, 5])])


def test_a_request_that_fails_while_it_is_begun_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no room")

    scheduler = scheduler_of()
    with monkeypatch.context() as patch:
        patch.setattr("paramrag.infer.scheduler.KeyValues.reserve", broken)
        ticket = scheduler.submit(wanted()[0])
        with pytest.raises(MemoryError):
            scheduler.step()
    assert isinstance(ticket.error, MemoryError)
    assert not scheduler.step()


def test_a_foreign_injection_is_refused_when_it_is_submitted() -> None:
    other = tiny_base("gemma2")
    layout = layout_of(other, Recipe(layers="last"))
    injection = concat(layout, random_rows(layout, 1), [1.0], "answer")
    wrong = type(injection)((7,), injection.a, injection.b, "answer")
    with pytest.raises(MismatchError, match="has layers 0 to 3"):
        scheduler_of().submit(Request([5], wrong))


def test_threads_share_one_batch() -> None:
    engine = Engine(tiny_base(), max_batch=4)
    answers: dict[int, Completion] = {}

    def ask(number: int) -> None:
        answers[number] = engine.generate([wanted()[number]])[0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(wanted()))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tuple(answers[number].token_ids for number in range(len(wanted()))) == alone()


def test_closing_a_stream_frees_its_row() -> None:
    engine = Engine(tiny_base())
    stream = engine.stream(Request(wanted()[1].prompt_ids, max_new_tokens=400))
    next(stream)
    stream.close()
    engine.scheduler.step()
    assert engine.scheduler.stats().decoding == 0


@settings(max_examples=15, deadline=None)
@given(moves=st.lists(st.integers(-5, len(TEXTS) * 2 - 1), max_size=20))
def test_rows_of_factors_come_and_go_as_if_stacked_anew(moves: list[int]) -> None:
    """A negative move takes a row out, the others add the injection of that request."""
    base = tiny_base()
    rows, here = FactorRows(base), []
    states = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(0))
    for move in moves:
        if move >= 0:
            rows.join(wanted()[move].injection)
            here.append(wanted()[move].injection)
        elif here:
            at = move % len(here)
            rows.leave(at)
            here[at] = here[-1]
            here.pop()
    expected = stack(here, base)
    found = rows.factors()
    assert (found is None) == (expected is None)
    if here:
        with torch.inference_mode():
            outputs = []
            for factors in (found, expected):
                with injected(base, factors):
                    outputs.append(base.model(inputs_embeds=states.expand(len(here), 1, 16)).logits)
        torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)
