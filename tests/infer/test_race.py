"""Sources of one answer run at once: the answer is that of waiting for all, and nobody waits for losers."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
import torch

from paramrag import Engine, Request
from paramrag.errors import MismatchError
from paramrag.infer import Race, Ticket, Update, surest
from paramrag.infer.rows import Listener
from paramrag.types import Injection
from tiny import tiny_base

DOUBTS = (0.0, 0.4, 1.1, 0.0, 0.2, 3.0)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_base(), max_batch=4)


def sources(seed: int, tokens: int = 12) -> list[Request]:
    """Prompts that are answered at various lengths."""
    random = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(5, 90, (4 + 3 * number,), generator=random).tolist() for number in range(len(DOUBTS))]
    lengths = [1 + (seed + 5 * number) % tokens for number in range(len(DOUBTS))]
    return [Request(ids, max_new_tokens=most, logprobs=0) for ids, most in zip(prompts, lengths, strict=True)]


@pytest.mark.parametrize("seed", range(12))
def test_the_answer_is_the_one_that_all_would_give(engine: Engine, seed: int) -> None:
    requests = sources(seed)
    wanted = surest(engine.generate(requests), DOUBTS)
    (found,) = engine.surest([(requests, DOUBTS)])
    assert (found.text, found.token_ids) == (wanted.text, wanted.token_ids)
    assert found.prompt_tokens == wanted.prompt_tokens == sum(len(request.prompt_ids) for request in requests)


def test_what_cannot_win_is_given_up(engine: Engine) -> None:
    (short, *_), long = sources(0), sources(1)[1]
    before = engine.scheduler.stats().generated_tokens
    hopeless = replace(long, max_new_tokens=64)
    race = Race(engine.scheduler, [replace(short, max_new_tokens=2), hopeless], (0.0, 1000.0))
    while not race.done:
        engine.scheduler.step()
    assert engine.scheduler.stats().generated_tokens - before < 10
    while engine.scheduler.step():
        pass
    assert engine.scheduler.stats().decoding == 0


def test_questions_side_by_side_do_not_meddle(engine: Engine) -> None:
    questions = [(sources(seed), DOUBTS) for seed in range(5)]
    together = [completion.text for completion in engine.surest(questions)]
    assert together == [engine.surest([question])[0].text for question in questions]


def test_one_request_needs_no_likelihoods(engine: Engine) -> None:
    request = replace(sources(3)[2], logprobs=None, max_new_tokens=5)
    assert engine.surest([([request], (0.0,))])[0].text == engine.generate([request])[0].text


def test_the_listener_hears_once(engine: Engine) -> None:
    heard: list[Update] = []
    race = Race(engine.scheduler, sources(2), DOUBTS, heard.append)
    while not race.done:
        engine.scheduler.step()
    assert [update.completion for update in heard] == [race.completion]


def test_a_source_of_another_model_gives_up_the_others(engine: Engine) -> None:
    good, bad = sources(4)[:2]
    wide = {"down_proj": torch.zeros(1, 2, 7)}
    with pytest.raises(MismatchError):
        engine.surest([([good, replace(bad, injection=Injection((0,), wide, wide, "answer"))], (0.0, 0.0))])
    engine.scheduler.step()
    assert engine.scheduler.stats().waiting == 0


def test_answers_that_come_while_others_are_submitted_are_not_missed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (request, *_) = sources(0)
    (answer,) = engine.generate([request])
    threads: list[threading.Thread] = []

    def submit(request: Request, listener: Listener | None = None) -> Ticket:
        ticket = Ticket(request, listener, completion=answer)
        threads.append(threading.Thread(target=ticket.tell, args=(Update(completion=answer),)))
        threads[-1].start()
        time.sleep(0.02)  # the other thread is done before the submitter is
        return ticket

    monkeypatch.setattr(engine.scheduler, "submit", submit)
    race = Race(engine.scheduler, [request, request], (0.0, 0.0))
    for thread in threads:
        thread.join(5)
    assert race.completion is not None


def test_closing_a_race_frees_its_rows(engine: Engine) -> None:
    race = Race(engine.scheduler, sources(5), DOUBTS)
    engine.scheduler.step()
    race.close()
    engine.scheduler.step()
    stats = engine.scheduler.stats()
    assert (stats.waiting, stats.reading, stats.decoding) == (0, 0, 0)
    assert not race.done
