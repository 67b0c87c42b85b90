"""Seconds to encode a passage: the stacked trainer, a PEFT loop, and the procedure as published.

    python benchmarks/encode.py [--passages 24] [--peft-passages 4] [--published-passages 1] [--json]

All sides encode passages of the demo corpus from the same training items, on the same model, with all cores, in one
run.

- ours: `StaticParameterizer.encode` of a collection with the default recipe: starting the workers and storing the
  adapters counted. Its peak memory is that of all processes together, less the model's copies that they hold.
- PEFT loop: one passage at a time, closed-book prompts, loss on the answer, unpadded, batch 4, rank 2 on the same
  projections of all layers, AdamW 2e-3 (the setting that learnt fastest when it was tuned by hand: docs/log.md). Its
  time is that of the first checkpoint at which it answers the passages' test questions as well as ours do.
- published: five steps at batch 1, every sequence padded to 3,000 tokens, loss on all of it, as in the code of
  arXiv 2501.15915.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psutil
import torch
from peft import LoraConfig, get_peft_model

from paramrag import Collection, Engine, Passage, Request, StaticParameterizer, TrainingItem, load_recipe
from paramrag.aggregate import concat
from paramrag.demo import DemoQuestion, demo_items, demo_passages, demo_questions
from paramrag.evaluate import Question, metric
from paramrag.models import prompt_ids
from paramrag.parameterize import GIVEN_ITEMS
from paramrag.parameterize.sequences import NO_LABEL, sequences
from paramrag.types import Injection

CHECKPOINTS = (10, 20, 30, 40, 60)
ANSWER_TOKENS = 16
BATCH = 4
PADDED = 3000
Test = tuple[Passage, DemoQuestion]


def tests_of(passages: Sequence[Passage]) -> list[Test]:
    """The test questions that one of the passages alone answers."""
    by_title = {passage.title: passage for passage in passages}
    return [
        (by_title[question.titles[0]], question)
        for question in demo_questions()
        if question.kind != "two-hop" and question.titles[0] in by_title
    ]


def right(engine: Engine, tests: Sequence[Test], injections: dict[str, Injection]) -> int:
    """How many test questions are answered closed book (HasAnswer), with the passage's injection."""
    requests = [
        Request(
            prompt_ids(engine.base.tokenizer, question.question), injections[passage.id], max_new_tokens=ANSWER_TOKENS
        )
        for passage, question in tests
    ]
    return counted([completion.text for completion in engine.generate(requests)], tests)


def right_of(model: Any, engine: Engine, tests: Sequence[Test]) -> int:
    """The same for a model that PEFT has wrapped, by transformers: the engine has packed weights of its own."""
    texts = []
    for _, question in tests:
        ids = torch.tensor([prompt_ids(engine.base.tokenizer, question.question)])
        with torch.no_grad():
            whole = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=ANSWER_TOKENS, do_sample=False
            )
        texts.append(engine.base.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True))
    return counted(texts, tests)


def counted(texts: Sequence[str], tests: Sequence[Test]) -> int:
    """How many answers hold the gold answer."""
    score = metric("has_answer").score
    return sum(
        score(text, Question(question.id, question.question, question.answers)) == 1.0
        for text, (_, question) in zip(texts, tests, strict=True)
    )


def ours(engine: Engine, passages: Sequence[Passage], items: dict[str, list[TrainingItem]]) -> dict[str, Any]:
    """Seconds per passage, memory and right answers of the default recipe."""
    parameterizer = StaticParameterizer(engine)
    layout, recipe = parameterizer.layout, parameterizer.recipe
    with tempfile.TemporaryDirectory() as folder:
        collection = Collection.open(folder)
        collection.add(passages)
        collection.put_items(GIVEN_ITEMS, {passage.id: items[passage.id] for passage in passages})
        with PeakMemory() as memory:
            report = parameterizer.encode(collection)
        ids = [passage.id for passage in passages]
        rows = collection.gather(ids, base=engine.fingerprint, recipe=recipe.id)
    injections = {
        passage_id: concat(layout, row[None], [1.0], recipe.activation)
        for passage_id, row in zip(ids, rows, strict=True)
    }
    tests = tests_of(passages)
    model_bytes = sum(value.numel() * value.element_size() for value in engine.base.model.parameters())
    return {
        "passages": report.encoded,
        "seconds_per_passage": report.seconds / report.encoded,
        "peak_gib_beside_models": (memory.peak_bytes - memory.processes * model_bytes) / 2**30,
        "processes": memory.processes,
        "questions": len(tests),
        "has_answer": right(engine, tests, injections) / len(tests),
    }


class PeakMemory:
    """Watches the resident memory of this process and its children, less what this one held before."""

    def __enter__(self) -> PeakMemory:
        self.peak_bytes, self.processes = 0, 1
        self._own, self._over = psutil.Process(), threading.Event()
        self._before = self._own.memory_info().rss
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            children = self._own.children(recursive=True)
            total = self._own.memory_info().rss - self._before
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += child.memory_info().rss
            if total > self.peak_bytes:
                self.peak_bytes = total
            self.processes = max(self.processes, len(children))


def peft_loop(engine: Engine, passage: Passage, items: Sequence[TrainingItem]) -> Iterator[tuple[int, float, int]]:
    """Yields (steps, seconds, right answers) at the checkpoints of one passage; scoring is not in the seconds."""
    config = LoraConfig(r=2, lora_alpha=32, target_modules=["gate_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM")
    torch.manual_seed(0)
    recipe = load_recipe("default").model_copy(update={"activation": "full", "layers": "all"})
    examples = sequences(engine.base, recipe, passage, items)
    started = time.perf_counter()
    model = get_peft_model(engine.base.model, config)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3, weight_decay=0.0)
    order = np.random.default_rng(0)
    seconds = time.perf_counter() - started
    queue: list[int] = []
    try:
        for step in range(1, CHECKPOINTS[-1] + 1):
            started = time.perf_counter()
            if len(queue) < BATCH:
                queue += order.permutation(len(examples)).tolist()
            batch, queue = [examples[at] for at in queue[:BATCH]], queue[BATCH:]
            width = max(len(example.tail) for example in batch)
            ids = torch.tensor([[*example.tail, *[0] * (width - len(example.tail))] for example in batch])
            labels = torch.tensor([[*e.labels, *[NO_LABEL] * (width - len(e.labels))] for e in batch])
            mask = torch.tensor([[1] * len(e.tail) + [0] * (width - len(e.tail)) for e in batch])
            logits = model(input_ids=ids, attention_mask=mask).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds += time.perf_counter() - started
            if step in CHECKPOINTS:
                yield step, seconds, right_of(model, engine, tests_of([passage]))
    finally:
        model.unload()


def published(engine: Engine, passage: Passage, items: Sequence[TrainingItem]) -> float:
    """Seconds for five steps over sequences padded to 3,000 tokens."""
    recipe = load_recipe("paper")
    questions = [item for item in items if item.kind == "qa"][:3]
    rewrite = TrainingItem(passage.id, "", passage.text, "rewrite")
    examples = sequences(engine.base, recipe, passage, [*questions, rewrite])[:5]
    config = LoraConfig(r=2, lora_alpha=32, target_modules=["gate_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM")
    started = time.perf_counter()
    model = get_peft_model(engine.base.model, config)
    try:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
        for example in examples:
            room = PADDED - len(example.tail)
            ids = torch.tensor([[*example.tail, *[0] * room]])
            labels = torch.tensor([[*example.labels, *[NO_LABEL] * room]])
            mask = torch.tensor([[1] * len(example.tail) + [0] * room])
            logits = model(input_ids=ids, attention_mask=mask).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        model.unload()
    return time.perf_counter() - started


def measure(passages: int, peft_passages: int, published_passages: int) -> dict[str, Any]:
    """Runs all sides; returns seconds, scores and ratios."""
    engine = Engine("smollm2-135m-instruct")
    items, corpus = demo_items(), demo_passages()[:passages]
    our = ours(engine, corpus, items)
    ours_seconds, goal = our["seconds_per_passage"], our["has_answer"]
    alone = corpus[:peft_passages]
    curves = [list(peft_loop(engine, passage, items[passage.id])) for passage in alone]
    totals = [
        {
            "steps": curve_at[0][0],
            "seconds_per_passage": sum(at[1] for at in curve_at) / len(curve_at),
            "has_answer": sum(at[2] for at in curve_at) / len(tests_of(alone)),
        }
        for curve_at in zip(*curves, strict=True)
    ]
    reached = next((entry for entry in totals if entry["has_answer"] >= goal), None)
    found: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "ours": our,
        "peft": {"passages": peft_passages, "questions": len(tests_of(alone)), "curve": totals, "reached": reached},
    }
    against = reached or totals[-1]
    label = "PEFT loop / ours, seconds per passage" + ("" if reached else " (never as good; at its last checkpoint)")
    bars = [
        _bar(label, against["seconds_per_passage"] / ours_seconds, 12.0),
        _bar("peak memory beside the models, GiB", our["peak_gib_beside_models"], 4.0, "lower"),
    ]
    if published_passages:
        seconds = [published(engine, passage, items[passage.id]) for passage in corpus[:published_passages]]
        found["published"] = {"passages": published_passages, "seconds_per_passage": sum(seconds) / len(seconds)}
        ratio = found["published"]["seconds_per_passage"] / ours_seconds
        bars.append(_bar("as published / ours, seconds per passage", ratio, 100.0))
    return {**found, "bars": bars}


def _bar(name: str, value: float, bar: float, better: str = "higher") -> dict[str, Any]:
    met = value >= bar if better == "higher" else value <= bar
    return {"name": name, "value": round(value, 2), "bar": bar, "better": better, "met": met}


def main() -> None:
    """Prints what was measured as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=24)
    parser.add_argument("--peft-passages", type=int, default=4)
    parser.add_argument("--published-passages", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one line")
    arguments = parser.parse_args()
    result = measure(arguments.passages, arguments.peft_passages, arguments.published_passages)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
