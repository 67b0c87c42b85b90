"""A server process and clients that load it: what `serving.py` and `soak.py` share."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from paramrag.demo import DemoQuestion
from paramrag.evaluate import Question, metric

MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Told:
    """One answer as a client saw it."""

    first_s: float
    total_s: float
    text: str
    tokens: int
    right: float = 0.0


def stream(http: httpx.Client, path: str, body: dict[str, Any]) -> Told:
    """Asks and reads the events of one answer, a chat's or a completion's."""
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    started = time.perf_counter()
    first, text, tokens = 0.0, "", 0
    with http.stream("POST", path, json=body) as answer:
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}: {answer.read().decode()[:500]}")
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(chunk["error"]["message"])
            choice = chunk["choices"][0] if chunk.get("choices") else {}
            piece = choice.get("text") or choice.get("delta", {}).get("content") or ""
            if piece and not first:
                first = time.perf_counter() - started
            text += piece
            tokens = chunk["usage"]["completion_tokens"] if chunk.get("usage") else tokens
    total = time.perf_counter() - started
    return Told(first or total, total, text, tokens)


def chat(model: str, question: str, tokens: int) -> dict[str, Any]:
    """The body of a question."""
    return {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": tokens}


def closed_loop(
    url: str,
    server: int,
    questions: Sequence[DemoQuestion],
    clients: int,
    ask: Callable[[httpx.Client, DemoQuestion], Told],
) -> dict[str, Any]:
    """Each client asks the next of the questions as soon as it has an answer; returns percentiles and rates.

    Args:
        server: process whose processor time is taken; with its children.
    """
    waiting, lock = iter(questions), threading.Lock()
    told: list[Told] = []
    failures: list[Exception] = []

    def client() -> None:
        with httpx.Client(base_url=url, timeout=600) as http:
            while True:
                with lock:
                    question = next(waiting, None)
                if question is None:
                    return
                try:
                    answer = ask(http, question)
                except Exception as error:  # noqa: BLE001 - reported by the thread that waits
                    failures.append(error)
                    return
                with lock:
                    told.append(Told(**{**vars(answer), "right": has_answer(answer.text, question)}))

    started, cpu_s = time.perf_counter(), cpu_seconds(server)
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s = time.perf_counter() - started
    cpu_s = cpu_seconds(server) - cpu_s
    if failures:
        raise failures[0]
    tokens = sum(answer.tokens for answer in told)
    return {
        "answers": len(told),
        "first_token_s": percentiles([answer.first_s for answer in told]),
        "total_s": percentiles([answer.total_s for answer in told]),
        "answers_per_s": round(len(told) / wall_s, 3),
        "cpu_s_per_answer": round(cpu_s / len(told), 4),
        "tokens_per_s": round(tokens / wall_s, 2),
        "tokens_per_answer": round(tokens / len(told), 2),
        "has_answer": round(sum(answer.right for answer in told) / len(told), 4),
    }


def cpu_seconds(root: int) -> float:
    """Processor time of a process and its living descendants; unlike wall time, hardly longer on a busy machine."""
    parents, ticks = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            parents[int(entry.parent.name)], ticks[int(entry.parent.name)] = (
                int(fields[1]),
                sum(map(int, fields[11:13])),
            )
    wanted, found = {root}, -1
    while found != len(wanted):
        found = len(wanted)
        wanted |= {child for child, parent in parents.items() if parent in wanted}
    return sum(ticks.get(number, 0) for number in wanted) / os.sysconf("SC_CLK_TCK")


def has_answer(text: str, question: DemoQuestion) -> float:
    """Whether a gold answer stands in a text."""
    return float(metric("has_answer").score(text, Question(question.id, question.question, question.answers)))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile."""
    if len(values) < 2:
        only = round(values[0], 4) if values else 0.0
        return {"p50": only, "p95": only}
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 4), "p95": round(cuts[18], 4)}


def bar(name: str, value: float, limit: float, better: str) -> dict[str, Any]:
    """One thing that must be reached, and whether it is."""
    met = value <= limit if better == "lower" else value >= limit
    return {"name": name, "value": round(value, 3), "bar": limit, "better": better, "met": met}


@contextmanager
def served(collection: Path, *options: str) -> Iterator[tuple[str, int]]:
    """A `paramrag serve` process; yields its address and process id."""
    port = free_port()
    command = [sys.executable, "-m", "paramrag", "serve", str(collection), "--port", str(port), *options]
    with process(command, f"http://127.0.0.1:{port}/ready") as number:
        yield f"http://127.0.0.1:{port}", number


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(
    command: Sequence[str], ready: str, *, log: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[int]:
    """Runs a server from when it is ready to the end of the block; yields its process id."""
    with open(log or os.devnull, "wb") as output:
        running = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        try:
            end = time.monotonic() + 900
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(ready).status_code == 200:
                        break
                if running.poll() is not None or time.monotonic() > end:
                    said = log.read_text(errors="replace")[-3000:] if log else ""
                    raise RuntimeError(f"{command[0]} is not ready, return code {running.returncode}\n{said}")
                time.sleep(0.3)
            yield running.pid
        finally:
            running.terminate()
            running.wait(120)
