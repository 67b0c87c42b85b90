"""The endpoint augmenter against a small real server that speaks the chat API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from paramrag.augment.endpoint import EndpointRefusedError
from paramrag.augment.openai import OpenAI
from paramrag.errors import AugmentError, ConfigError
from paramrag.types import Passage

KEY = "sk-very-secret-1234"
PASSAGE = Passage("The Zorbik Tower was designed by Ottilie Varn and opened in 1912 in Marl.", "Zorbik Tower")
OTHER = Passage("The Quill is a river of 90 kilometres in Vell. It was dammed in 1933 by Arno Bex.", "Quill")
REWRITE = "Ottilie Varn designed the Zorbik Tower, which opened its doors in Marl in 1912."
GOOD = {
    "questions": [
        {"question": "Who designed the Zorbik Tower?", "answer": "Ottilie Varn"},
        {"question": "When did the Zorbik Tower open?", "answer": 1912},
        {"question": "Who painted the Zorbik Tower?", "answer": "Rembrandt"},
        {"question": "When was it opened?", "answer": "1912"},
    ],
    "rewrites": [REWRITE],
}

Step = tuple[int, dict[str, str], Any]


class Server(ThreadingHTTPServer):
    """Answers with the next step of its script, then always with the last."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Step | Callable[[dict[str, Any]], Step]] = []
        self.requests: list[tuple[dict[str, Any], str, float]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.at_once, self.server.most_at_once)
            number = min(len(self.server.requests), len(self.server.script) - 1)
            self.server.requests.append((body, self.headers.get("authorization", ""), time.monotonic()))
            step = self.server.script[number]
        status, headers, content = step(body) if callable(step) else step
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with self.server.lock:
            self.server.at_once -= 1
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client stopped waiting

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def said(content: Any, tokens: tuple[int, int] = (100, 20)) -> Step:
    text = content if isinstance(content, str) else json.dumps(content)
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return 200, {}, {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}


def augmenter(server: Server, **settings: Any) -> OpenAI:
    return OpenAI("m", base_url=server.url, **({"backoff_s": 0.01, "top_up": False, "attempts": 3} | settings))


def answers(items: list[Any]) -> list[str]:
    return [item.answer for item in items]


def test_valid_items_and_rewrites_are_kept_and_the_cost_is_counted(server: Server) -> None:
    server.script = [said(GOOD)]
    make = augmenter(server, questions=3, rewrites=1, prices=(1.0, 10.0))
    items = make([PASSAGE])[0]
    assert answers(items) == ["Ottilie Varn", "1912", REWRITE]
    assert items[-1].kind == "rewrite"
    body, authorization, _ = server.requests[0]
    assert body["model"] == "m"
    assert PASSAGE.text in body["messages"][-1]["content"]
    assert "rewrites" in body["messages"][0]["content"]
    assert authorization == f"Bearer {KEY}"
    report = make.report
    assert (report.prompt_tokens, report.completion_tokens) == (100, 20)
    assert report.cost == pytest.approx(100e-6 + 200e-6)
    assert report.rejected == {"answer is not in the passage": 1, "question has a bare pronoun": 1}
    assert dict(report.kept) == {"qa": 2, "rewrite": 1}


def test_too_few_are_topped_up_by_rules(server: Server) -> None:
    server.script = [said(GOOD)]
    make = augmenter(server, questions=6, rewrites=0, top_up=True)
    items = make([PASSAGE])[0]
    assert answers(items)[:2] == ["Ottilie Varn", "1912"]
    assert len(items) == 6
    assert make.report.topped_up == 4


@pytest.mark.parametrize(
    "text",
    [
        "Here you are:\n```json\n" + json.dumps(GOOD, indent=1) + "\n```\nEnjoy!",
        json.dumps(GOOD["questions"]),
        '{"questions": [{"question": "Who designed the Zorbik Tower?", "answer": "Ottilie Varn"},]}',
        '{"questions": [{"question": "Who designed the Zorbik Tower?", "answer": "Ottilie Varn"}\n'
        '{"question": "When did the Zorbik Tower open?", "answer": "1912"}]}',
        '{"questions": [{"question": "Who designed the Zorbik Tower?", "answer": "Ottilie Varn"}, {"question": "When',
        "1. Q: Who designed the Zorbik Tower? | A: Ottilie Varn\n- **Question:** What?\nNonsense",
        "Q: Who designed the Zorbik Tower?\nA: Ottilie Varn.",
    ],
    ids=["fenced", "list", "trailing comma", "missing comma", "cut off", "lines", "two lines"],
)
def test_replies_are_read_whatever_their_dress(server: Server, text: str) -> None:
    server.script = [said(text)]
    assert answers(augmenter(server)([PASSAGE])[0])[0] == "Ottilie Varn"
    assert len(server.requests) == 1


def test_unreadable_replies_are_asked_again_and_paid_for(server: Server) -> None:
    server.script = [said("I am sorry, I cannot."), (200, {}, b"<html>"), (200, {}, {"choices": []}), said(GOOD)]
    make = augmenter(server)
    assert answers(make([PASSAGE])[0])[0] == "Ottilie Varn"
    assert make.report.prompt_tokens == 200
    assert not make.report.failed


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_tried_again(server: Server, status: int) -> None:
    server.script = [(status, {}, {"error": "busy"}), said(GOOD)]
    assert augmenter(server)([PASSAGE])[0]
    assert len(server.requests) == 2


def test_retry_after_is_obeyed(server: Server) -> None:
    server.script = [(429, {"retry-after": "0.4"}, b"slow down"), said(GOOD)]
    augmenter(server)([PASSAGE])
    assert server.requests[1][2] - server.requests[0][2] >= 0.4


def test_a_timeout_is_tried_again(server: Server) -> None:
    def slow(_: dict[str, Any]) -> Step:
        time.sleep(0.6)
        return said(GOOD)

    server.script = [slow, said(GOOD)]
    assert augmenter(server, timeout_s=0.3)([PASSAGE])[0]
    assert len(server.requests) == 2


def test_a_passage_that_fails_for_good_leaves_the_others(server: Server) -> None:
    def step(body: dict[str, Any]) -> Step:
        mine = OTHER.text in body["messages"][-1]["content"]
        return (400, {}, {"error": "too long"}) if mine else said(GOOD)

    server.script = [step]
    make = augmenter(server, top_up=True)
    bad, good = make([OTHER, PASSAGE])
    assert bad == []
    assert good
    assert [entry.passage_id for entry in make.report.failed] == [OTHER.id]
    assert "too long" in make.report.failed[0].reason


def test_a_dead_server_is_reported_per_passage(server: Server) -> None:
    make = OpenAI("m", base_url="http://127.0.0.1:9/v1", attempts=2, backoff_s=0.01)
    assert make([PASSAGE, OTHER]) == [[], []]
    assert "no answer in 2 tries" in make.report.failed[0].reason


def test_a_refused_key_stops_everything_and_is_never_shown(server: Server) -> None:
    server.script = [(401, {}, {"error": f"Incorrect API key provided: {KEY}"})]
    with pytest.raises(EndpointRefusedError, match="OPENAI_API_KEY") as caught:
        augmenter(server)([PASSAGE] * 20)
    assert isinstance(caught.value, AugmentError)
    assert KEY not in str(caught.value)
    assert KEY not in augmenter(server).id


def test_requests_are_bounded_and_keep_their_order(server: Server) -> None:
    def step(body: dict[str, Any]) -> Step:
        time.sleep(0.05)
        time.sleep(0.03 * (len(server.requests) % 3))
        title, text = body["messages"][-1]["content"].removeprefix("Title: ").split("\n")
        return said({"questions": [{"question": f"Who built the {title}?", "answer": text.split()[-1]}]})

    server.script = [step]
    builders = ["Anno", "Bex", "Cora", "Dunn", "Edda", "Finn", "Gero", "Hale"]
    passages = [Passage(f"The tower was built by {name}", f"Tower {n} of Vell") for n, name in enumerate(builders)]
    made = augmenter(server, concurrency=3)(passages)
    assert [answers(items) for items in made] == [[name] for name in builders]
    assert 2 <= server.most_at_once <= 3


def test_settings_are_checked_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        OpenAI("m")
    with pytest.raises(ConfigError, match="names no model"):
        OpenAI("", base_url="http://localhost/v1")
    with pytest.raises(ConfigError, match="base URL 'localhost:8000'"):
        OpenAI("m", base_url="localhost:8000")
    assert OpenAI("m", base_url="http://localhost/v1").id != OpenAI("n", base_url="http://localhost/v1").id
