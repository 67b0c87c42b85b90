"""A language model as judge: one prompt, verdicts kept, agreement with has_answer shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from paramrag import Engine
from paramrag.errors import ConfigError, EvaluationError
from paramrag.evaluate import Judge, Question, compare, evaluate, metric
from paramrag.evaluate.judging import judge, local_judge
from paramrag.evaluate.metrics.judge import PROMPT
from tiny import tiny_base

from .answering import Table, question

SAID = {"Paris": "Yes.", "It is Lutetia": "yes, the same city", "Rome": "No", "maybe": "I cannot tell"}


class Model:
    """Replies by what it is asked to grade."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return next(reply for text, reply in SAID.items() if f"Answer to grade: {text}\n" in prompt)


ASKED = question(0, "Paris", "Paname")


def test_verdicts_are_read_and_empty_answers_cost_nothing() -> None:
    model = Model()
    judged = Judge("m", model)
    assert [judged.verdict(text, ASKED) for text in (*SAID, "  ")] == [True, True, False, None, False]
    assert len(model.prompts) == 4
    assert model.prompts[0] == PROMPT.format(question="What is 0?", golds="Paris; Paname", prediction="Paris")
    assert judged.verdict("x", Question("q", "?", ())) is None


def test_agreement_with_has_answer_is_shown(tmp_path: Path) -> None:
    asked = [question(number, "Paris") for number in range(4)]
    table = Table({entry.question: text for entry, text in zip(asked, SAID, strict=True)})
    metrics = (metric("has_answer"), *Judge("m", Model(), tmp_path / "run" / "judge.jsonl").metrics())
    for run in ("run", "other"):
        summary = evaluate({"a": table}, asked, tmp_path / run, metrics=metrics).to_json()["modes"]["a"]
    assert summary["has_answer"]["mean"] == 0.25
    assert (summary["has_answer_judge"]["mean"], summary["has_answer_judge"]["n"]) == (
        pytest.approx(2 / 3, abs=1e-6),
        3,
    )
    assert summary["judge_agreement"]["mean"] == pytest.approx(2 / 3, abs=1e-6)  # not on "It is Lutetia"
    found = compare(tmp_path / "run", tmp_path / "other", metric="has_answer_judge")
    assert found.mcnemar is not None
    assert found.left_out == 1


def test_verdicts_are_kept_and_a_torn_line_is_asked_again(tmp_path: Path) -> None:
    cache = tmp_path / "judge.jsonl"
    first = Judge("m", Model(), cache)
    verdicts = [first.verdict(text, ASKED) for text in SAID]
    again = Model()
    assert [Judge("m", again, cache).verdict(text, ASKED) for text in SAID] == verdicts
    assert again.prompts == []
    other = Model()
    Judge("another", other, cache).verdict("Paris", ASKED)
    assert len(other.prompts) == 1
    entry = json.loads(cache.read_text().splitlines()[0])
    assert (entry["prediction"], entry["said"], entry["verdict"]) == ("Paris", "Yes.", True)

    whole = cache.read_bytes()
    cache.write_bytes(whole[:-20])
    torn = Judge("another", other, cache)
    assert torn.verdict("Paris", ASKED) is True
    assert len(other.prompts) == 2
    assert Judge("another", other, cache).verdict("Paris", ASKED) is True
    assert len(other.prompts) == 2
    cache.write_bytes(b"{}\n" + whole)
    with pytest.raises(EvaluationError, match=r"judge.jsonl:1: not a verdict"):
        Judge("m", again, cache)


def test_the_metric_without_a_judge_says_what_it_needs() -> None:
    with pytest.raises(EvaluationError, match="needs a judge"):
        metric("has_answer_judge")


def test_a_local_model_judges_the_same_every_time() -> None:
    engine = Engine(tiny_base())
    first, second = (local_judge(engine) for _ in range(2))
    assert first.name.startswith("local:tiny-llama@")
    assert first.verdict("Paris", ASKED) == second.verdict("Paris", ASKED)


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A chat endpoint that says yes; what it was sent is listed."""
    sent: list[dict[str, Any]] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = json.dumps({"choices": [{"message": {"content": "Yes"}}]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/v1", sent
    serving.shutdown()
    serving.server_close()


def test_an_endpoint_judges_at_temperature_nought(server: tuple[str, list[dict[str, Any]]]) -> None:
    url, sent = server
    judged = judge("openai:some-model", base_url=url)
    assert judged.verdict("Paris", ASKED) is True
    assert judged.verdict("Paris", ASKED) is True
    assert len(sent) == 1
    assert (sent[0]["model"], sent[0]["temperature"]) == ("some-model", 0.0)
    assert sent[0]["messages"][0]["content"].startswith("Grade an answer")


@pytest.mark.parametrize("spec", ["openai", "openai:", "gpt", "model:x"])
def test_judges_that_are_none_are_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="expected openai:MODEL or local:MODEL"):
        judge(spec)
