"""What adapters know, whom they disturb, and what they are worth beside the text: all conditions on the same questions.

    python benchmarks/fidelity.py --data DIR [--sets popqa,squad_xquad_en,phantomwiki] [--questions 100]
                                  [--recipe default] [--work DIR] [--json]

DIR holds question files as `paramrag eval` reads them. Of each set, the first questions with exactly one gold passage
are asked; the passages of all sets are one collection, kept in --work, so that an interrupted run goes on.

Conditions: closed book (`vanilla`); the gold passage in the prompt (`t-own`); its adapter (`p-own`), alone and summed
with two or four adapters of other gold passages, at equal weights (`p-own+2`, `p-own+4`) and weighted as a pipeline
that had retrieved them would (`... served`, also alone); another passage's adapter instead (`p-wrong`); the gold
passage in the prompt with two wrong adapters (`t-own, wrong`; `late`: each answers by itself); what BM25 finds, three
passages in the prompt (`t-rag`), their adapters (`p-rag`), both (`pt-rag`), the surest answer of the passages read one
by one (`t-rag-late`), of the adapters one by one (`p-rag-late`), and of the passages one by one and the adapters
together (`pt-rag-late`). `p-own int4`: adapters as they come back from compact storage. `... + task`: the task adapter
alone, the control of what adapters teach beside their passage; where the recipe trains on top of it, it is on beneath
every adapter too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paramrag import Collection, Engine, Passage, Pipeline, Request, StaticParameterizer, load_recipe
from paramrag.aggregate import concat, weighting
from paramrag.aggregate.joining import join
from paramrag.config import Recipe
from paramrag.evaluate import Question, load_questions, metric
from paramrag.evaluate.statistics import Estimate, bootstrap_mean, paired_difference
from paramrag.models import prompt_ids
from paramrag.parameterize import task_adapter
from paramrag.store.codec import decode, encode, size_bytes
from paramrag.types import Hit, Injection, Query

TOP_K = 3
ANSWER_TOKENS = 32
Asking = tuple[Sequence[Passage], Injection | None]  # passages in the prompt, what is injected
Sources = tuple[Sequence[Request], Sequence[float]]  # what is asked, how much each answer is doubted
FAR = 200  # BM25 hits among which the score of a given passage is looked up; beyond, it counts as 0
BATCH = 16


@dataclass(frozen=True)
class Asked:
    """A question with what the conditions need to know about it."""

    question: Question
    gold: Passage
    others: tuple[Passage, ...]
    hits: tuple[Hit, ...]
    scores: Mapping[str, float]


class Bench:
    """One collection, one engine, one recipe; scores conditions."""

    def __init__(self, collection: Collection, engine: Engine, recipe: Recipe) -> None:
        self.collection, self.engine, self.recipe = collection, engine, recipe
        self.layout = engine.layout(recipe)
        self.score = metric("has_answer").score
        self.weigh = weighting("evidence")
        self.task = task_adapter(engine, recipe)
        self.pipelines = {
            mode: Pipeline(collection, engine, mode, top_k=TOP_K, recipe=recipe, max_new_tokens=ANSWER_TOKENS)
            for mode in ("t-rag-late", "p-rag-late", "pt-rag-late")
        }

    def asked(self, questions: Sequence[Question], seed: int) -> list[Asked]:
        """Prepares questions; the same other passages for the same seed."""
        random = np.random.default_rng(seed)
        held = set(self.collection.passage_ids())
        gold = [next(judged.passage for judged in question.passages if judged.gold) for question in questions]
        gold = [passage for passage in gold if passage.id in held]
        pool = list({passage.id: passage for passage in gold}.values())
        found = []
        for question, passage in zip(questions, gold, strict=True):
            drawn = [pool[at] for at in random.permutation(len(pool)) if pool[at].id != passage.id][:4]
            hits = self.collection.search(question.question, FAR)
            scores = {hit.passage.id: hit.score for hit in hits}
            found.append(Asked(question, passage, tuple(drawn), tuple(hits[:TOP_K]), scores))
        return found

    def needed(self, one: Asked) -> list[Passage]:
        """The passages whose adapters a question needs."""
        hits = [hit.passage for hit in one.hits]
        counted = [passage for passage, weight in zip(hits, self.weights(one, hits), strict=True) if weight]
        return [one.gold, *one.others, *counted]

    def rows(self, passages: Sequence[Passage]) -> np.ndarray:
        """Adapter rows [k, P]."""
        ids = [passage.id for passage in passages]
        return self.collection.gather(ids, base=self.engine.fingerprint, recipe=self.recipe.id)

    def injection(self, passages: Sequence[Passage], weights: Sequence[float]) -> Injection:
        """The weighted sum of the passages' adapters, over the task adapter where they were trained on it."""
        return self.over_task(concat(self.layout, self.rows(passages), weights, self.recipe.activation))

    def over_task(self, own: Injection) -> Injection:
        """An injection with what is beneath it."""
        joined = join([self.task if self.recipe.task else None, own])
        assert joined is not None
        return joined

    def weights(self, one: Asked, passages: Sequence[Passage]) -> list[float]:
        """How much a pipeline that had retrieved them would let the adapters of passages count."""
        ids = [passage.id for passage in passages]
        scores = [one.scores.get(key, 0.0) for key in ids]
        return self.weigh(scores, lambda: self.collection.coverage(one.question.question, ids))

    def weighted(self, one: Asked, passages: Sequence[Passage]) -> Injection | None:
        """Their adapters, weighted so; None where none counts."""
        weights = self.weights(one, passages)
        counted = [(passage, weight) for passage, weight in zip(passages, weights, strict=True) if weight]
        if not counted:
            return self.task if self.recipe.task else None
        return self.injection([passage for passage, _ in counted], [weight for _, weight in counted])

    def stored(self, one: Asked, dtype: str) -> Injection:
        """The gold passage's adapter as it comes back from storage of a number format."""
        (row,) = self.rows([one.gold])
        back = decode(encode(row, self.layout, dtype), self.layout, dtype)
        return self.over_task(concat(self.layout, back[None], [1.0], self.recipe.activation))

    def conditions(self) -> dict[str, Callable[[Asked], Sources]]:
        """Name -> question -> what is asked, and how much each answer is doubted."""
        return {name: partial(self.alone, one) for name, one in self.together().items()} | {
            "t-own late": lambda one: self.late("t-rag-late", one, self.gold(one)),
            "t-own late, wrong served": lambda one: self.late("pt-rag-late", one, self.gold(one), one.others[:2]),
            "t-rag-late": lambda one: self.late("t-rag-late", one, one.hits),
            "p-rag-late": lambda one: self.late("p-rag-late", one, one.hits),
            "pt-rag-late": lambda one: self.late("pt-rag-late", one, one.hits),
        }

    def alone(self, condition: Callable[[Asked], Asking], one: Asked) -> Sources:
        """One request."""
        passages, injection = condition(one)
        prompt = prompt_ids(self.engine.base.tokenizer, one.question.question, passages)
        return [Request(prompt, injection, max_new_tokens=ANSWER_TOKENS, logprobs=0)], [0.0]

    def late(self, mode: str, one: Asked, hits: Sequence[Hit], injected: Sequence[Passage] = ()) -> Sources:
        """What a pipeline asks where every source answers by itself: of hits, or with adapters of other passages."""
        scales = {passage.id: weight for passage, weight in zip(injected, self.weights(one, injected), strict=True)}
        query = Query(one.question.question, hits=tuple(hits))
        prepared = self.pipelines[mode].prepare(query, scales=scales if injected else None)
        return prepared.requests, prepared.doubts

    def gold(self, one: Asked) -> list[Hit]:
        """The passage that answers, as the only hit."""
        return [Hit(one.gold, "", one.scores.get(one.gold.id, 0.0))]

    def together(self) -> dict[str, Callable[[Asked], Asking]]:
        """Name -> question -> (passages in the prompt, injection)."""
        own, wrong = (lambda one: [one.gold]), (lambda one: one.others[:2])
        hits = lambda one: [hit.passage for hit in one.hits]  # noqa: E731
        return {
            "vanilla": lambda one: ([], None),
            "t-own": lambda one: (own(one), None),
            "p-own": lambda one: ([], self.injection(own(one), [1.0])),
            "p-own+2": lambda one: ([], self.injection([one.gold, *one.others[:2]], [1.0] * 3)),
            "p-own+4": lambda one: ([], self.injection([one.gold, *one.others[:4]], [1.0] * 5)),
            "p-own served": lambda one: ([], self.weighted(one, own(one))),
            "p-own+2 served": lambda one: ([], self.weighted(one, [one.gold, *one.others[:2]])),
            "p-own+4 served": lambda one: ([], self.weighted(one, [one.gold, *one.others[:4]])),
            "p-wrong": lambda one: ([], self.injection(one.others[:1], [1.0])),
            "p-wrong served": lambda one: ([], self.weighted(one, one.others[:1])),
            "t-own, wrong": lambda one: (own(one), self.injection(wrong(one), [1.0] * 2)),
            "t-own, wrong served": lambda one: (own(one), self.weighted(one, wrong(one))),
            "p-own int4": lambda one: ([], self.stored(one, "int4")),
            "vanilla + task": lambda one: ([], self.task),
            "t-own + task": lambda one: (own(one), self.task),
            "t-rag": lambda one: (hits(one), None),
            "t-rag + task": lambda one: (hits(one), self.task),
            "p-rag": lambda one: ([], self.weighted(one, hits(one))),
            "pt-rag": lambda one: (hits(one), self.weighted(one, hits(one))),
        }

    def measure(self, asked: Sequence[Asked], show: Callable[[str], None]) -> dict[str, list[float]]:
        """HasAnswer of every condition, question by question; conditions that share a prompt share its reading."""
        conditions = self.conditions()
        found: dict[str, list[float]] = {name: [] for name in conditions}
        for start in range(0, len(asked), BATCH):
            some = asked[start : start + BATCH]
            for name, condition in conditions.items():
                sources = [condition(one) for one in some]
                for one, completion in zip(some, self.engine.surest(sources), strict=True):
                    found[name].append(self.score(completion.text, one.question) or 0.0)
            show(f"  {start + len(some)} questions: " + ", ".join(_so_far(name, found[name]) for name in found))
        return found


def _so_far(name: str, right: Sequence[float]) -> str:
    return f"{name} {100 * sum(right) / len(right):.1f}"


def bars(sets: Mapping[str, Mapping[str, list[float]]], bytes_per_passage: int) -> list[dict[str, Any]]:
    """The bars, over the sets."""
    made = []
    for name, scores in sets.items():
        for how in ("", " served"):
            gain = paired_difference(scores["t-own"], scores["p-own" + how])
            made.append(_bar(f"{name}: P-RAG own{how} minus T-RAG own, lower end of 95 %", 100 * gain.low, -3.0))
    together = {
        name: [value for scores in sets.values() for value in scores[name]] for name in next(iter(sets.values()))
    }
    for condition, bar in (("p-own+2", 85.0), ("p-own+4", 70.0)):
        for how in ("", " served"):
            alone = np.mean(together["p-own" + how])
            kept = 100 * float(np.mean(together[condition + how]) / alone) if alone else 0.0
            made.append(_bar(f"{condition}{how}, share of p-own{how} kept, %", kept, bar))
    for name, scores in sets.items():
        for mode in ("pt-rag", "pt-rag-late"):
            gain = paired_difference(scores["t-rag"], scores[mode])
            made.append(_bar(f"{name}: {mode} minus t-rag, BM25 top 3, lower end of 95 %", 100 * gain.low, 0.0))
        gain = paired_difference(scores["t-rag-late"], scores["pt-rag-late"])  # what reading one by one alone gives
        made.append(_bar(f"{name}: pt-rag-late minus t-rag-late (control), lower end of 95 %", 100 * gain.low, 0.0))
    loss = 100 * float(np.mean(together["t-own late"]) - np.mean(together["t-own late, wrong served"]))
    made.append(_bar("t-own late, wrong served, points lost", loss, 2.0, "lower"))
    for how in ("", " served"):
        change = 100 * abs(float(np.mean(together["p-wrong" + how]) - np.mean(together["vanilla"])))
        made.append(_bar(f"p-wrong{how} against vanilla, points", change, 2.0, "lower"))
        loss = 100 * float(np.mean(together["t-own"]) - np.mean(together["t-own, wrong" + how]))
        made.append(_bar(f"t-own, wrong{how}, points lost", loss, 2.0, "lower"))
    loss = 100 * float(np.mean(together["p-own"]) - np.mean(together["p-own int4"]))
    made.append(_bar("int4 storage, points lost", loss, 1.0, "lower"))
    made.append(_bar("bytes of a stored adapter, int4, MB", bytes_per_passage / 1e6, 0.12, "lower"))
    return made


def _bar(name: str, value: float, bar: float, better: str = "higher") -> dict[str, Any]:
    met = value >= bar if better == "higher" else value <= bar
    return {"name": name, "value": round(value, 3), "bar": bar, "better": better, "met": bool(met)}


def _percent(estimate: Estimate) -> dict[str, float]:
    return {name: round(100 * value, 1) for name, value in asdict(estimate).items() if name != "n"}


def main() -> None:
    """Prints what was measured as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="popqa,squad_xquad_en,phantomwiki")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--work", type=Path, help="keeps collection and adapters; a temporary one where not given")
    parser.add_argument("--json", action="store_true", help="one line")
    arguments = parser.parse_args()

    def show(line: str) -> None:
        if not arguments.json:
            print(line, flush=True)

    files = [arguments.data / f"{name}.jsonl" for name in arguments.sets.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        collection = Collection.open((arguments.work or Path(scratch)) / "collection")
        collection.add(files)
        bench = Bench(
            collection,
            Engine("smollm2-135m-instruct", max_batch=BATCH, prefix_cache_bytes=1 << 30),
            load_recipe(arguments.recipe),
        )
        parameterizer = StaticParameterizer(bench.engine, bench.recipe)
        scores, seconds, made = {}, 0.0, 0
        for file in files:
            questions = [question for question in load_questions(file) if len(question.gold_ids) == 1]
            asked = bench.asked(questions[: arguments.questions], seed=0)
            wanted = [passage.id for one in asked for passage in bench.needed(one)]
            report = parameterizer.encode(collection, wanted)
            seconds, made = seconds + report.seconds, made + report.encoded
            show(f"{file.stem}: {len(asked)} questions, {report.encoded} adapters made in {report.seconds:.0f} s")
            failed = {entry.passage_id for entry in report.failed}
            asked = [one for one in asked if failed.isdisjoint(passage.id for passage in bench.needed(one))]
            scores[file.stem] = bench.measure(asked, show)
    result = {
        "recipe": {"name": bench.recipe.name, "id": bench.recipe.id},
        "encode": {"made": made, "seconds_per_passage": round(seconds / made, 2) if made else None},
        "sets": {
            name: {"n": len(next(iter(found.values())))}
            | {condition: _percent(bootstrap_mean(values)) for condition, values in found.items()}
            for name, found in scores.items()
        },
        "bars": bars(scores, size_bytes(bench.layout, "int4")),
    }
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
