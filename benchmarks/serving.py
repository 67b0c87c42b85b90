"""Answers over HTTP under load: the modes against each other, a loop that swaps adapters with PEFT, and `generate`.

    python benchmarks/serving.py [--json] [--clients 1,4,8,16] [--seconds 20] [--collection DIR] [--others 4]

Each client asks its next question as soon as it has an answer (closed loop), streamed, over a connection of its own;
questions and documents are the demo's, in a fixed order. Each configuration is a fresh `paramrag serve` process with
the same engine, dtype, prefix cache and prompt template:

- t-rag, pt-rag, p-rag with three passages; pt-rag-1 has one passage in the text and three in the weights.
- peft: T-RAG's closed-book counterpart as published: load three adapters, merge, generate, unload, per question.
- generate: transformers' `generate` over T-RAG's prompts, in batches of 8.

Without --collection the demo's passages are encoded first, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch

from paramrag import Collection, Engine, Pipeline, StaticParameterizer, load_recipe
from paramrag.demo import DemoQuestion, demo_items, demo_passages, demo_questions
from paramrag.evaluate import Question, metric
from paramrag.parameterize.static import GIVEN_ITEMS
from paramrag.store.peft import export_peft

MODEL = "smollm2-135m-instruct"
TOKENS = 20
CONFIGURATIONS = {"t-rag": ("t-rag", 3), "pt-rag": ("pt-rag", 3), "pt-rag-1": ("pt-rag", 1), "p-rag": ("p-rag", 3)}
"""Name -> mode, passages in the text of modes with text."""


@dataclass
class Load:
    """What clients saw of one configuration."""

    first_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    tokens: int = 0
    right: float = 0.0
    wall_s: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Percentiles and rates."""
        return {
            "answers": len(self.total_s),
            "first_token_s": _percentiles(self.first_s),
            "total_s": _percentiles(self.total_s),
            "answers_per_s": round(len(self.total_s) / self.wall_s, 3),
            "tokens_per_s": round(self.tokens / self.wall_s, 2),
            "has_answer": round(self.right / max(1, len(self.total_s)), 4),
        }


def encoded_demo(folder: Path) -> Path:
    """A collection of the demo's passages with an adapter for each."""
    collection = Collection.open(folder)
    collection.add(demo_passages())
    collection.put_items(GIVEN_ITEMS, demo_items())
    StaticParameterizer(Engine(MODEL)).encode(collection)
    return folder


@contextmanager
def served(collection: Path, text_k: int) -> Iterator[str]:
    """A server process; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "paramrag", "serve", str(collection), "--port", str(port), "--text-k", str(text_k)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{url}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                if process.poll() is not None:
                    raise RuntimeError(f"the server ended with {process.returncode}") from None
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(90)


def load(url: str, model: str, clients: int, seconds: float, questions: Sequence[DemoQuestion]) -> Load:
    """Asks with some clients for some seconds; answers that were begun are waited for."""
    found, lock = Load(), threading.Lock()
    numbers = iter(range(10**9))
    end = time.perf_counter() + seconds

    def client() -> None:
        with httpx.Client(base_url=url, timeout=600) as http:
            while time.perf_counter() < end:
                with lock:
                    question = questions[next(numbers) % len(questions)]
                first, total, text, tokens = _ask(http, model, question.question)
                with lock:
                    found.first_s.append(first)
                    found.total_s.append(total)
                    found.tokens += tokens
                    found.right += has_answer(text, question)

    started = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.wall_s = time.perf_counter() - started
    return found


def _ask(http: httpx.Client, model: str, question: str) -> tuple[float, float, str, int]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started = time.perf_counter()
    first, text, tokens = 0.0, "", 0
    with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(chunk["error"]["message"])
            piece = chunk["choices"][0]["delta"].get("content") if chunk["choices"] else ""
            if piece and not first:
                first = time.perf_counter() - started
            text += piece or ""
            tokens = chunk["usage"]["completion_tokens"] if "usage" in chunk else tokens
    total = time.perf_counter() - started
    return first or total, total, text, tokens


def has_answer(text: str, question: DemoQuestion) -> float:
    """Whether a gold answer stands in a text."""
    return float(metric("has_answer").score(text, Question(question.id, question.question, question.answers)))


def peft_loop(directory: Path, questions: Sequence[DemoQuestion], work: Path) -> dict[str, Any]:
    """Answers per second of load, merge, generate, unload, closed book, one question after the other."""
    from peft import PeftModel

    engine = Engine(MODEL)
    collection = Collection.open(directory, create=False)
    pipeline = Pipeline(collection, engine, "p-rag")
    prepared = [pipeline.prepare(question.question) for question in questions]
    folders = {
        used.hit.passage.id: export_peft(
            [collection.adapter(used.hit.passage.id, base=engine.fingerprint, recipe=load_recipe("default").id)],
            work / used.hit.passage.id,
            base_name=MODEL,
        )
        for entry in prepared
        for used in entry.used
    }
    started = time.perf_counter()
    for entry in prepared:
        names = [used.hit.passage.id for used in entry.used]
        model: Any = PeftModel.from_pretrained(engine.base.model, folders[names[0]], adapter_name=names[0])
        for name in names[1:]:
            model.load_adapter(folders[name], adapter_name=name)
        model.add_weighted_adapter(names, [used.weight for used in entry.used], "merged", combination_type="cat")
        model.set_adapter("merged")
        ids = torch.tensor([list(entry.request.prompt_ids)])
        model.generate(input_ids=ids, max_new_tokens=TOKENS, do_sample=False)
        model.unload()
    return {"answers": len(prepared), "answers_per_s": len(prepared) / (time.perf_counter() - started)}


def generate(directory: Path, questions: Sequence[DemoQuestion], batch: int = 8) -> dict[str, Any]:
    """Answers per second of transformers' `generate` over T-RAG's prompts."""
    engine = Engine(MODEL)
    pipeline = Pipeline(Collection.open(directory, create=False), engine, "t-rag")
    prompts = [list(pipeline.prepare(question.question).request.prompt_ids) for question in questions]
    pad = engine.base.tokenizer.pad_token_id or 0
    started = time.perf_counter()
    for at in range(0, len(prompts), batch):
        rows = prompts[at : at + batch]
        width = max(map(len, rows))
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        engine.base.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False)
    return {"answers": len(prompts), "answers_per_s": len(prompts) / (time.perf_counter() - started)}


def bars(found: dict[str, dict[int, dict[str, Any]]], peft: dict[str, Any], clients: Sequence[int]) -> list[Any]:
    """What must be reached, at 8 clients, or at the most that were measured."""
    many = 8 if 8 in clients else max(clients)
    t, pt, one, p = (found[name][many] for name in CONFIGURATIONS)
    made = [
        _bar(f"PT-RAG / T-RAG, p50, {many} clients", pt["total_s"]["p50"] / t["total_s"]["p50"], 1.05, "lower"),
        _bar(f"PT-RAG 1+3 / T-RAG, p50, {many} clients", one["total_s"]["p50"] / t["total_s"]["p50"], 0.6, "lower"),
        _bar(f"PT-RAG 1+3 / T-RAG, p95, {many} clients", one["total_s"]["p95"] / t["total_s"]["p95"], 0.6, "lower"),
        _bar("PT-RAG 1+3 - T-RAG, HasAnswer", one["has_answer"] - t["has_answer"], 0.0, "higher"),
        _bar(
            f"P-RAG / T-RAG, first token, {many} clients",
            p["first_token_s"]["p50"] / t["first_token_s"]["p50"],
            0.25,
            "lower",
        ),
    ]
    if 1 in clients and many > 1:
        for name in ("t-rag", "p-rag"):
            gain = found[name][many]["answers_per_s"] / found[name][1]["answers_per_s"]
            made.append(_bar(f"{name}: answers/s at {many} clients / at 1", gain, 2.5, "higher"))
    if peft:
        made.append(_bar("P-RAG / PEFT loop, answers/s", p["answers_per_s"] / peft["answers_per_s"], 6.0, "higher"))
    return made


def _bar(name: str, value: float, bar: float, better: str) -> dict[str, Any]:
    met = value <= bar if better == "lower" else value >= bar
    return {"name": name, "value": round(value, 3), "bar": bar, "better": better, "met": met}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        only = round(values[0], 4) if values else 0.0
        return {"p50": only, "p95": only}
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 4), "p95": round(cuts[18], 4)}


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--clients", default="1,4,8,16")
    parser.add_argument("--seconds", type=float, default=20.0, help="per configuration and number of clients")
    parser.add_argument("--collection", type=Path, help="a collection of the demo, encoded with the default recipe")
    parser.add_argument("--others", type=int, default=8, help="questions for the PEFT loop and for generate; 0: none")
    arguments = parser.parse_args()
    clients = [int(count) for count in arguments.clients.split(",")]
    questions = [question for question in demo_questions() if question.kind != "conflict"]
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in CONFIGURATIONS}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collection = arguments.collection or encoded_demo(Path(folder) / "collection")
        for name, (mode, text_k) in CONFIGURATIONS.items():
            with served(collection, text_k) as url:
                with httpx.Client(base_url=url, timeout=600) as http:
                    _ask(http, f"{MODEL}:{mode}", questions[-1].question)  # the first answer of a process is slow
                for count in clients:
                    found[name][count] = load(url, f"{MODEL}:{mode}", count, arguments.seconds, questions).summary()
        others = questions[: arguments.others]
        peft = peft_loop(collection, others, Path(folder)) if others else {}
        batches = generate(collection, others) if others else {}
    result = {
        "model": MODEL,
        "threads": torch.get_num_threads(),
        "new_tokens": TOKENS,
        "configurations": found,
        "peft_loop": peft,
        "generate": batches,
        "bars": bars(found, peft, clients),
    }
    if not arguments.json:
        for bar in result["bars"]:
            print(f"{bar['name']:45} {bar['value']:8} (bar {bar['bar']}, {'met' if bar['met'] else 'missed'})")
        for name, counts in found.items():
            for count, numbers in counts.items():
                print(f"{name:9} {count:3} clients: {json.dumps(numbers)}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
