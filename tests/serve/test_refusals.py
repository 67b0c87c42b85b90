"""Every way to be refused: its status, its envelope, and no word of what is inside."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from paramrag.errors import ConfigError
from paramrag.infer import Scheduler
from paramrag.serve import Settings, serve
from paramrag.serve.server import is_loopback

from .conftest import ADMIN, READER, Running, running, wait_for

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"model": "tiny-llama:t-rag", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 2}
TURN = {"role": "user", "content": "Who?"}


def error_of(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    return dict(body["error"])


@pytest.mark.parametrize(
    ("change", "status", "code", "said"),
    [
        ({"model": "tiny-llama:trag"}, 404, "model_not_found", "did you mean 'tiny-llama:t-rag'"),
        ({"temprature": 1}, 400, "unknown_field", "did you mean 'temperature'"),
        ({"lora": [{"id": "x", "scal": 1}]}, 400, "unknown_field", "did you mean 'scale'"),
        ({"lora": [{"id": "x", "scale": "much"}]}, 400, "invalid_value", "lora.0.scale"),
        ({"lora": [{"id": "x", "scale": 1}] * 2}, 400, "invalid_value", "twice"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "invalid_value", "role"),
        ({"messages": [TURN, {"role": "assistant", "content": "x"}]}, 400, "invalid_value", "not a question"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "invalid_value", "not a question"),
        ({"messages": [TURN, {"role": "system", "content": "x"}, TURN]}, 400, "invalid_value", "system message"),
        ({"n": 2}, 400, "invalid_value", "one answer"),
        ({"tools": [{"type": "function"}]}, 400, "invalid_value", "tools is not offered"),
        ({"frequency_penalty": 1}, 400, "invalid_value", "frequency_penalty is not offered"),
        ({"temperature": -1}, 400, "invalid_value", "temperature"),
        ({"top_p": 0}, 400, "invalid_value", "top_p"),
        ({"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
        ({"max_tokens": 100_000}, 400, "too_many_tokens", "at most 1024"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, 400, "context_length_exceeded", "takes 1024"),
        ({"top_logprobs": 2}, 400, "invalid_value", "needs logprobs"),
        ({"stop": ["x"] * 17}, 400, "invalid_value", "stop holds too much"),
    ],
)
def test_bad_chat_bodies(server: Running, change: dict[str, Any], status: int, code: str, said: str) -> None:
    with server.http() as http:
        for stream in (False, True):
            answer = http.post(CHAT, json={**GOOD, **change, "stream": stream})
            error = error_of(answer)
            assert (answer.status_code, error["code"]) == (status, code), error
            assert said in error["message"]


def test_other_bad_requests(server: Running) -> None:
    completion = {"model": "tiny-llama:t-rag", "prompt": "x", "max_tokens": 1}
    json_header = {"Content-Type": "application/json"}
    with server.http() as http:
        for answer, status, said in (
            (http.post(CHAT, content=b'{"model": ', headers=json_header), 400, "not valid JSON"),
            (http.post(CHAT, content=b"[]", headers=json_header), 400, ""),
            (http.post(CHAT, content=b"\xff", headers=json_header), 400, ""),
            (http.post(CHAT), 400, ""),
            (http.get(CHAT), 405, "there is no GET /v1/chat"),
            (http.post("/v1/models", json={}), 405, "there is no POST /v1/models"),
            (http.get("/v1/nothing"), 404, "there is no /v1/nothing"),
            (http.get("/v1/models/none"), 404, "unknown model"),
            (http.get("/v1/jobs/none"), 404, "no encoding job"),
            (http.post("/v1/completions", json={**completion, "prompt": ["a", "b"]}), 400, "one per request"),
            (http.post("/v1/completions", json={**completion, "prompt": ""}), 400, "empty"),
            (http.post("/v1/completions", json={**completion, "echo": True}), 400, "echo is not offered"),
            (http.post("/v1/retrieve", json={"query": "x", "top_k": 0}), 400, "top_k"),
            (http.post("/v1/retrieve", json={"query": ""}), 400, "query"),
            (http.delete("/v1/documents/none"), 404, "none"),
            (http.post("/v1/documents", json={"documents": []}), 400, "documents"),
            (http.post("/v1/documents", json={"documents": [{"id": "a"}]}), 400, "either text or file_base64"),
            (http.post("/v1/documents", json={"documents": [{"id": "a", "text": " "}]}), 400, "no text"),
            (http.post("/v1/documents", json={"documents": [{"id": "a.md", "file_base64": "?"}]}), 400, "base64"),
            (http.post("/v1/documents", json={"documents": [{"id": "a.exe", "file_base64": "AAAA"}]}), 400, "a.exe"),
        ):
            assert answer.status_code == status, (answer.request.url, answer.text)
            assert said in error_of(answer)["message"]


def test_large_bodies(server: Running) -> None:
    large = b'{"model": "' + b"x" * (1 << 20) + b'"}'

    def pieces() -> Any:
        for _ in range(40):
            yield b" " * (1 << 15)

    with server.http() as http:
        headers = {"Content-Type": "application/json"}
        for content in (large, pieces()):
            answer = http.post(CHAT, content=content, headers=headers)
            assert answer.status_code == 413
            assert "larger than 1,048,576 bytes" in error_of(answer)["message"]


def test_keys(tmp_path: Path) -> None:
    settings = Settings(api_keys=(READER,), admin_keys=(ADMIN,))
    change = {"documents": [{"id": "new", "text": "Something new."}], "encode": False}
    with running(tmp_path / "c", settings) as server:
        with server.http() as http:
            for answer in (http.get("/v1/models"), http.post(CHAT, json=GOOD), http.get("/metrics")):
                assert (answer.status_code, error_of(answer)["code"]) == (401, "missing_api_key")
            assert http.post("/v1/documents", json=change).status_code == 401
            assert http.get("/health").status_code == http.get("/").status_code == 200
        with server.http("wrong-key-1") as http:
            assert error_of(http.post(CHAT, json=GOOD))["code"] == "invalid_api_key"
        with server.http(READER) as http:
            assert http.post(CHAT, json=GOOD).status_code == 200
            for answer in (http.post("/v1/documents", json=change), http.delete("/v1/documents/mill")):
                assert (answer.status_code, error_of(answer)["code"]) == (403, "not_allowed")
        with server.http(ADMIN) as http:
            assert http.post(CHAT, json=GOOD).status_code == 200
            assert http.post("/v1/documents", json=change).status_code == 202
        assert len(server.collection.documents()) == 4


def test_settings_are_checked() -> None:
    for wrong in ({"api_keys": ("short",)}, {"queue_limit": 0}, {"max_new_tokens": 99, "token_limit": 9}):
        with pytest.raises(ConfigError):
            Settings(**wrong)  # type: ignore[arg-type]


def test_other_machines_need_keys(server: Running) -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "10.0.0.3", "host.example")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    from .conftest import RECIPE

    for settings in (Settings(), Settings(api_keys=(READER,)), Settings(admin_keys=(ADMIN,))):
        with pytest.raises(ConfigError, match="--without-keys"):
            serve(server.collection, server.engine, RECIPE, settings, host="0.0.0.0")


class Held:
    """Keeps the engine from stepping, at once or when it answers, so that requests stay under way."""

    def __init__(self, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, *, once_answering: bool = False) -> None:
        self.gate = threading.Event()
        step = scheduler.step

        def held() -> bool:
            if not once_answering or scheduler.stats().decoding:
                self.gate.wait(30)
            return step()

        monkeypatch.setattr(Scheduler, "step", lambda _: held())


def test_too_many_requests_are_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "c", Settings(queue_limit=2), max_batch=1) as server:
        held = Held(server.engine.scheduler, monkeypatch)
        codes: list[int] = []

        def ask() -> None:
            with server.http() as http:
                codes.append(http.post(CHAT, json=GOOD).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: server.engine.scheduler.stats().waiting == 2)
        with server.http() as http:
            refused = http.post(CHAT, json=GOOD)
            assert (refused.status_code, error_of(refused)["code"]) == (429, "overloaded")
            assert int(refused.headers["Retry-After"]) >= 1
            held.gate.set()
            for thread in threads:
                thread.join()
            assert codes == [200, 200]
            assert http.post(CHAT, json=GOOD).status_code == 200


def test_a_request_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "c", Settings(timeout_s=0.5)) as server:
        held = Held(server.engine.scheduler, monkeypatch)
        with server.http() as http:
            answer = http.post(CHAT, json=GOOD)
            assert (answer.status_code, error_of(answer)["code"]) == (504, "timeout")
            assert '"code": "timeout"' in http.post(CHAT, json={**GOOD, "stream": True}).text
        held.gate.set()
        wait_for(lambda: server.engine.scheduler.stats().waiting == 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    with running(tmp_path / "c", Settings(token_limit=1000)) as server:
        body = {**GOOD, "max_tokens": 700, "stream": stream, "temperature": 2, "seed": 1}
        scheduler = server.engine.scheduler
        held = Held(scheduler, monkeypatch, once_answering=True)
        with server.http() as http:
            if stream:
                answer = http.send(http.build_request("POST", CHAT, json=body), stream=True)
                lines = answer.iter_lines()  # kept: an iterator that is let go closes the answer
                next(lines)
                wait_for(lambda: scheduler.stats().decoding == 1)
                answer.close()
            else:
                with pytest.raises(httpx.ReadTimeout):
                    http.post(CHAT, json=body, timeout=1)
                assert scheduler.stats().decoding == 1
        with server.http() as http:
            wait_for(lambda: 'status="499"' in http.get("/metrics").text)
        tokens = scheduler.stats().generated_tokens
        held.gate.set()
        wait_for(lambda: scheduler.stats().decoding == scheduler.stats().waiting == scheduler.stats().reading == 0)
        assert scheduler.stats().generated_tokens == tokens


def test_an_error_inside_is_a_number_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    with running(tmp_path / "c") as server, server.http() as http:
        with monkeypatch.context() as patch:
            patch.setattr("paramrag.infer.passes.Passes.run", broken)
            answer = http.post(CHAT, json=GOOD)
            assert (answer.status_code, error_of(answer)["code"]) == (500, "internal_error")
            assert "secret" not in answer.text
            assert answer.json()["error"]["message"].split()[-1] in caplog.text
            streamed = http.post(CHAT, json={**GOOD, "stream": True})
            assert streamed.status_code == 200
            assert "internal_error" in streamed.text
            assert "secret" not in streamed.text
        assert http.post(CHAT, json=GOOD).status_code == 200


def test_stopping_finishes_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[httpx.Response] = []
    with running(tmp_path / "c") as server:
        held = Held(server.engine.scheduler, monkeypatch)

        def ask() -> None:
            with server.http() as http:
                answers.append(http.post(CHAT, json=GOOD))

        thread = threading.Thread(target=ask)
        thread.start()
        wait_for(lambda: server.engine.scheduler.stats().waiting == 1)
        server.server.should_exit = True
        held.gate.set()
        thread.join()
    assert [answer.status_code for answer in answers] == [200]
