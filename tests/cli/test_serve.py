"""`paramrag serve`: what it refuses before it listens, and that it answers and stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from .conftest import Run


def test_bad_settings_are_refused(run: Run, encoded: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    model = ("--model", tiny_model_folder)
    for arguments, said in (
        ((tmp_path / "none", *model), "there is no collection"),
        ((encoded, *model, "--host", "0.0.0.0"), "--without-keys"),
        ((encoded, *model, "--api-key", "short"), "shorter than 8"),
        ((encoded, *model, "--retriever", "bm52"), "did you mean 'bm25'"),
        ((encoded, *model, "--max-new-tokens", 2000), "more than token_limit"),
    ):
        ran = run("serve", *arguments)
        assert (ran.code, ran.out) == (2, ""), (arguments, ran)
        assert said in ran.err


@pytest.mark.timeout(600)
def test_it_answers_and_stops(encoded: Path, tiny_model_folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "paramrag", "serve", encoded, "--model", tiny_model_folder, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "PARAMRAG_API_KEYS": "a-reading-key another-key"})
    try:
        end = time.monotonic() + 500
        while True:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/ready").json() == {"status": "ready"}
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.2)
        for key, status in (("a-reading-key", 200), ("another-key", 200), ("wrong-key", 401)):
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status
        stranger = httpx.get(f"http://127.0.0.1:{port}/health", headers={"Host": "elsewhere.example"})
        assert stranger.status_code == 400
        process.send_signal(signal.SIGINT)
        assert process.wait(120) in (0, 130)
    finally:
        process.kill()
