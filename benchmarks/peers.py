"""What one would use instead of our server, on the same model, documents and questions; used by `serving.py`."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import torch

from load import MODEL, Told, chat, closed_loop, free_port, process, stream
from paramrag import Collection, Engine, Pipeline
from paramrag.demo import DemoQuestion
from paramrag.models import gguf_architecture, load_base, pull
from paramrag.pipeline import Prepared
from paramrag.store.gguf import export_gguf
from paramrag.store.peft import export_peft
from paramrag.types import Adapter, AdapterKey

LLAMA_CPP = """
import json, sys, time
import xllamacpp
model, port, slots, threads, folder = sys.argv[1:]
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port = model, int(port)
parameters.n_parallel, parameters.n_ctx = int(slots), 2048 * int(slots)
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
adapters = []
for file in json.load(open(folder + "/files.json")):
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = file, 0.0
    adapters.append(adapter)
parameters.lora_adapters, parameters.lora_init_without_apply = adapters, True
server = xllamacpp.Server(parameters)
time.sleep(1e9)
"""
"""Runs llama.cpp's server; argv: GGUF file, port, slots, threads, folder of adapters."""


class Peers:
    """A collection, and an engine that makes the same prompts and weights as the server."""

    def __init__(self, directory: Path, recipe: str, work: Path, tokens: int) -> None:
        self.collection = Collection.open(directory, create=False)
        self.engine = Engine(load_base(MODEL))
        self.recipe = next(record.recipe for record in self.collection.recipes() if record.recipe.id == recipe)
        self.work, self.tokens = work, tokens

    def prepared(self, mode: str, questions: Sequence[DemoQuestion]) -> list[Prepared]:
        """Prompts, passages and weights."""
        pipeline = Pipeline(self.collection, self.engine, mode, recipe=self.recipe)
        return [pipeline.prepare(question.question) for question in questions]

    def adapters(self, entry: Prepared) -> tuple[list[Adapter], list[float]]:
        """The adapters that an answer is to be given with, and their weights."""
        found = [
            self.collection.adapter(used.hit.passage.id, base=self.engine.fingerprint, recipe=self.recipe.id)
            for used in entry.used
        ]
        return found, [used.weight for used in entry.used]

    def peft_loop(self, questions: Sequence[DemoQuestion]) -> dict[str, Any]:
        """Load, merge, generate, unload, closed book, one question after the other."""
        from peft import PeftModel

        entries = self.prepared("p-rag", questions)
        folders: dict[str, Path] = {}
        for entry in entries:
            for adapter in self.adapters(entry)[0]:
                name = adapter.key.passage_id
                if name not in folders:
                    folders[name] = export_peft([adapter], self.work / "peft" / name, base_name=MODEL)
        tokens, started, cpu_s = 0, time.perf_counter(), time.process_time()
        for entry in entries:
            names = [used.hit.passage.id for used in entry.used]
            model: Any = PeftModel.from_pretrained(self.engine.base.model, folders[names[0]], adapter_name=names[0])
            for name in names[1:]:
                model.load_adapter(folders[name], adapter_name=name)
            model.add_weighted_adapter(names, [used.weight for used in entry.used], "merged", combination_type="cat")
            model.set_adapter("merged")
            ids = torch.tensor([list(entry.request.prompt_ids)])
            answer = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=self.tokens, do_sample=False
            )
            tokens += answer.shape[1] - ids.shape[1]
            model.unload()
        return _rates(len(entries), tokens, time.perf_counter() - started, time.process_time() - cpu_s)

    def generate(self, mode: str, questions: Sequence[DemoQuestion], batch: int = 8) -> dict[str, Any]:
        """Transformers' `generate` over a mode's prompts in batches, without adapters."""
        prompts = [list(entry.request.prompt_ids) for entry in self.prepared(mode, questions)]
        pad = self.engine.base.tokenizer.pad_token_id or 0
        tokens, started, cpu_s = 0, time.perf_counter(), time.process_time()
        for at in range(0, len(prompts), batch):
            rows = prompts[at : at + batch]
            width = max(map(len, rows))
            ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            answer = self.engine.base.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=self.tokens, do_sample=False
            )
            tokens += int((answer[:, width:] != pad).sum())
        return _rates(len(prompts), tokens, time.perf_counter() - started, time.process_time() - cpu_s)

    def vllm(self, python: str, questions: Sequence[DemoQuestion], clients: int) -> dict[str, Any]:
        """vLLM's OpenAI server: each request loads its merged adapter, asks with it, and unloads it.

        The adapters are merged and written before the clock starts. Also asked without adapters, and T-RAG's prompts.
        """
        prompts = {mode: self.prepared(mode, questions) for mode in ("p-rag", "t-rag")}
        folders, rank = [], 1
        for number, entry in enumerate(prompts["p-rag"]):
            adapters, weights = self.adapters(entry)
            place = self.work / "vllm" / str(number)
            export_peft(adapters, place, base_name=MODEL, weights=weights, for_vllm=True)
            folders.append(place)
            rank = max(rank, json.loads((place / "adapter_config.json").read_text())["r"])
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = f"""{python} -m vllm.entrypoints.openai.api_server --model {pull(MODEL)} --served-model-name {MODEL}
            --dtype float32 --max-model-len 2048 --max-num-seqs 16 --port {port} --enable-lora --max-lora-rank {rank}
            --max-loras {clients} --max-cpu-loras {2 * clients}""".split()
        environment = {
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        place_of = {question.id: at for at, question in enumerate(questions)}
        names = itertools.count()

        def ask(http: httpx.Client, mode: str, question: DemoQuestion, model: str) -> Told:
            ids = list(prompts[mode][place_of[question.id]].request.prompt_ids)
            body = {"model": model, "prompt": ids, "max_tokens": self.tokens, "temperature": 0}
            return stream(http, "/v1/completions", body)

        def with_adapter(http: httpx.Client, question: DemoQuestion) -> Told:
            name = f"lora-{next(names)}"
            started = time.perf_counter()
            path = str(folders[place_of[question.id]])
            http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path}).raise_for_status()
            loaded = time.perf_counter() - started
            told = ask(http, "p-rag", question, name)
            http.post("/v1/unload_lora_adapter", json={"lora_name": name}).raise_for_status()
            return Told(told.first_s + loaded, time.perf_counter() - started, told.text, told.tokens)

        log = self.work / "vllm.log"
        with process(command, f"{url}/health", log=log, environment=environment) as server:
            with httpx.Client(base_url=url, timeout=600) as http:  # warm
                stream(http, "/v1/chat/completions", chat(MODEL, "Who?", self.tokens))
                with_adapter(http, questions[0])
            return {
                "clients": clients,
                "p-rag": closed_loop(url, server, questions, clients, with_adapter),
                "without": closed_loop(url, server, questions, clients, lambda http, q: ask(http, "p-rag", q, MODEL)),
                "t-rag": closed_loop(url, server, questions, clients, lambda http, q: ask(http, "t-rag", q, MODEL)),
            }

    def llama_cpp(self, python: str, model: Path, questions: Sequence[DemoQuestion], clients: int) -> dict[str, Any]:
        """llama.cpp's server over the model's own GGUF file: every request names its adapters and their scales.

        All adapters are loaded before the clock starts. Also asked without adapters, and T-RAG's prompts; a server
        each, since it keeps prompts.
        """
        prompts = {mode: self.prepared(mode, questions) for mode in ("p-rag", "t-rag")}
        place = self.work / "llama_cpp"
        number: dict[str, int] = {}
        for entry in prompts["p-rag"]:
            for adapter in self.adapters(entry)[0]:
                if adapter.key.passage_id not in number:
                    export_gguf([adapter], place / f"{len(number)}.gguf", architecture=gguf_architecture(MODEL))
                    number[adapter.key.passage_id] = len(number)
        (place / "files.json").write_text(json.dumps([str(place / f"{at}.gguf") for at in range(len(number))]))
        place_of = {question.id: at for at, question in enumerate(questions)}

        def loaded(mode: str, scaled: bool) -> dict[str, Any]:
            def ask(http: httpx.Client, question: DemoQuestion) -> Told:
                entry = prompts[mode][place_of[question.id]]
                body: dict[str, Any] = {"prompt": list(entry.request.prompt_ids), "max_tokens": self.tokens}
                if scaled:
                    counted = [used for used in entry.used if used.weight]
                    body["lora"] = [{"id": number[used.hit.passage.id], "scale": used.weight} for used in counted]
                with httpx.Client(
                    base_url=http.base_url, timeout=600
                ) as fresh:  # it closes connections between requests
                    return stream(fresh, "/v1/completions", {"model": MODEL, "temperature": 0, **body})

            port = free_port()
            url = f"http://127.0.0.1:{port}"
            command = [python, "-c", LLAMA_CPP, str(model), str(port), str(clients), str(torch.get_num_threads())]
            with process([*command, str(place)], f"{url}/health", log=self.work / "llama_cpp.log") as server:
                with httpx.Client(base_url=url, timeout=600) as http:  # warm
                    stream(http, "/v1/chat/completions", chat(MODEL, "Who?", self.tokens))
                return closed_loop(url, server, questions, clients, ask)

        return {
            "clients": clients,
            "p-rag": loaded("p-rag", scaled=True),
            "without": loaded("p-rag", scaled=False),
            "t-rag": loaded("t-rag", scaled=False),
        }


def with_full_activation(directory: Path, recipe: str) -> str:
    """Stores the adapters once more, to be injected while the prompt is read too; returns the recipe's id."""
    collection = Collection.open(directory, create=False)
    record = next(record for record in collection.recipes() if record.recipe.id == recipe)
    full = record.recipe.model_copy(update={"name": "full", "activation": "full"})
    encoded = sorted(collection.encoded(record.base, recipe))
    rows = collection.gather(encoded, base=record.base, recipe=recipe)
    collection.put_recipe(full, record.base, record.layout)
    collection.put_adapters(
        [
            Adapter(AdapterKey(passage_id, record.base, full.id), row, record.layout)
            for passage_id, row in zip(encoded, rows, strict=True)
        ]
    )
    return str(full.id)


def _rates(answers: int, tokens: int, wall_s: float, cpu_s: float) -> dict[str, Any]:
    return {
        "answers": answers,
        "answers_per_s": round(answers / wall_s, 4),
        "cpu_s_per_answer": round(cpu_s / answers, 4),
        "tokens_per_answer": round(tokens / answers, 2),
        "tokens_per_s": round(tokens / wall_s, 2),
    }
