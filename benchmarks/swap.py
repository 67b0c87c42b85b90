"""What adapters cost while answering: putting three in and out, and a token with them on.

    python benchmarks/swap.py [--json] [--adapters 1000] [--repeats 30]

Swap: gather, combine and inject, against PEFT's load, merge and unload.

Both sides put the same three rank-2 adapters into the same model and take them out again. PEFT does what the published
code does per question: `PeftModel.from_pretrained`, two `load_adapter`, `add_weighted_adapter("cat")`, `unload`.

Decode step: one token for each of eight rows, every row with an injection of three adapters of its own, against the
same step without; the two take turns.

Both once with the default recipe's layers, the last half, and once with adapters in all of them, as published.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paramrag import Collection, Engine, Passage
from paramrag.aggregate import concat
from paramrag.config import Recipe, load_recipe
from paramrag.infer import Request, Scheduler, injected, stack
from paramrag.store.peft import export_peft
from paramrag.types import Adapter, AdapterKey


def median_ms(run: Callable[[int], Any], repeats: int) -> float:
    """Median wall time of `run(i)`, after one warm-up, in milliseconds."""
    run(0)
    times = []
    for number in range(1, repeats + 1):
        started = time.perf_counter()
        run(number)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def filled(folder: Path, engine: Engine, recipe: Recipe, count: int) -> Collection:
    """A collection with `count` random adapters."""
    collection = Collection.open(folder)
    collection.add([Passage(f"Passage number {number}.", f"P{number}") for number in range(count)])
    layout = engine.layout(recipe)
    collection.put_recipe(recipe, engine.fingerprint, layout)
    random = np.random.default_rng(0)
    collection.put_adapters(
        [
            Adapter(
                AdapterKey(passage_id, engine.fingerprint, recipe.id),
                (random.standard_normal(layout.size) * 0.01).astype(np.float32),
                layout,
            )
            for passage_id in collection.passage_ids()
        ]
    )
    return collection


def decode_step(engine: Engine, recipe: Recipe, steps: int, rows: int = 8, prompt: int = 64) -> dict[str, float]:
    """Median milliseconds of a step with injections and without, and the median of the pairs' ratios."""
    layout, random = engine.layout(recipe), np.random.default_rng(2)

    def answering(injected: bool) -> Scheduler:
        scheduler = Scheduler(engine.base, frozenset(), max_batch=rows)
        for _ in range(rows):
            three = (random.standard_normal((3, layout.size)) * 0.01).astype(np.float32)
            injection = concat(layout, three, [1.0, 0.5, 0.25], "answer") if injected else None
            ids = random.integers(100, 4000, size=prompt).tolist()
            scheduler.submit(Request(ids, injection, max_new_tokens=10 * steps))
        while scheduler.stats().decoding < rows:
            scheduler.step()
        return scheduler

    sides = [answering(True), answering(False)]
    times: list[list[float]] = [[], []]
    for number in range(steps + 2):
        for side in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            sides[side].step()
            times[side].append((time.perf_counter() - started) * 1000)
    pairs = [(with_them, without) for with_them, without in zip(*times, strict=True)][2:]
    return {
        "with_ms": round(statistics.median(pair[0] for pair in pairs), 3),
        "without_ms": round(statistics.median(pair[1] for pair in pairs), 3),
        "ratio": round(statistics.median(pair[0] / pair[1] for pair in pairs), 4),
    }


def swap(engine: Engine, recipe: Recipe, count: int, repeats: int, work: Path) -> dict[str, float]:
    """Median milliseconds of both sides, with rows that have to be read (cold) and with rows in memory (hot)."""
    layout = engine.layout(recipe)
    collection = filled(work / "collection", engine, recipe, count)
    ids = collection.passage_ids()
    random = np.random.default_rng(1)
    triples = [[ids[at] for at in random.choice(count, 3, replace=False)] for _ in range(repeats + 1)]

    def gather(number: int, source: Collection) -> np.ndarray:
        return source.gather(triples[number], base=engine.fingerprint, recipe=recipe.id)

    def inject(rows: np.ndarray) -> None:
        with injected(engine.base, stack([concat(layout, rows, [1.0] * 3, "answer")], engine.base)):
            pass

    cold = Collection.open(work / "collection", cache_bytes=0)
    hot = collection
    found = {
        "numbers_per_row": layout.size,
        "gather_cold_ms": median_ms(lambda n: gather(n, cold), repeats),
        "cold_ms": median_ms(lambda n: inject(gather(n, cold)), repeats),
        "gather_hot_ms": median_ms(lambda n: gather(0, hot), repeats),
        "hot_ms": median_ms(lambda n: inject(gather(0, hot)), repeats),
    }
    folders = []
    for passage_id in triples[0]:
        adapter = hot.adapter(passage_id)
        folders.append(export_peft([adapter], work / passage_id, base_name=engine.base.name))

    from peft import PeftModel

    def peft_swap(_: int) -> None:
        model = PeftModel.from_pretrained(engine.base.model, folders[0], adapter_name="0")
        model.load_adapter(folders[1], adapter_name="1")
        model.load_adapter(folders[2], adapter_name="2")
        model.add_weighted_adapter(["0", "1", "2"], [1.0] * 3, "merged", combination_type="cat")
        model.set_adapter("merged")
        model.unload()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found["peft_ms"] = median_ms(peft_swap, max(3, repeats // 6))
    return found


def measure(count: int, repeats: int, work: Path) -> dict[str, Any]:
    """Runs both sides; returns milliseconds and ratios."""
    engine = Engine("smollm2-135m-instruct")
    found, bars = {}, []
    for name, recipe in (("default recipe", load_recipe("default")), ("all layers", Recipe(layers="all"))):
        times = swap(engine, recipe, count, repeats, work / recipe.id)
        step = decode_step(engine, recipe, repeats)
        found[name] = {"swap": times, "decode_step": step}
        bars += [
            _bar(f"swap k=3, cold rows (ms), {name}", times["cold_ms"], 5.0, "lower"),
            _bar(f"swap k=3, hot rows (ms), {name}", times["hot_ms"], 1.0, "lower"),
            _bar(f"PEFT / ours, cold, {name}", times["peft_ms"] / times["cold_ms"], 200.0, "higher"),
            _bar(f"PEFT / ours, hot, {name}", times["peft_ms"] / times["hot_ms"], 200.0, "higher"),
            _bar(f"decode step, 8 rows with k=3 / without, {name}", step["ratio"], 1.15, "lower"),
        ]
    return {"adapters": count, "threads": torch.get_num_threads(), **found, "bars": bars}


def _bar(name: str, value: float, bar: float, better: str) -> dict[str, Any]:
    met = value <= bar if better == "lower" else value >= bar
    return {"name": name, "value": round(value, 3), "bar": bar, "better": better, "met": met}


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    try:
        result = measure(arguments.adapters, arguments.repeats, work)
    finally:
        shutil.rmtree(work)
    if not arguments.json:
        for bar in result["bars"]:
            print(f"{bar['name']:60} {bar['value']:>10} (bar {bar['bar']}, {'met' if bar['met'] else 'not met'})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
