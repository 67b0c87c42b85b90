"""Predicted adapters on people and pages never trained on: do they know their passage, and only theirs?

    python benchmarks/dynamic.py --data DIR --hypernet H [--baseline H0] [--people 24] [--questions 60]
                                 [--recipe default] [--work DIR] [--json]

DIR holds phantomwiki.jsonl, popqa.jsonl and squad_xquad_en.jsonl. H is what `paramrag dynamic train` wrote, or
`shipped`, H0 the same for recipe dyprag-paper. Collection and adapters are kept in --work, so that an interrupted run
goes on.

Invented people (phantomwiki): each is asked for facts of the passage in wordings that no hypernetwork was trained on,
and the file's own questions about one person are asked too. Closed book under the own predicted adapter (`dyp-own`),
that of another person (`dyp-swapped`), the trained one (`p-own`), predicted ones refined for 1 to 4 steps on items by
rules, and what such steps give without a prediction (`nothing-own`); then as a pipeline asks, with BM25's three
passages: in the prompt (`t-rag`), also with the task adapter (`t-rag task`), one by one (`t-rag-late`), as predicted
adapters (`dyp-rag`), and as both (`dypt-rag`, `dypt-rag-late`). PopQA: the latter six. Geometry: whole updates of the
people's adapters. AUROC: a pair of passages is relevant if both are of one article (arXiv 2510.12668, sec. 4), of
SQuAD; also with each person cut into two passages.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from paramrag import Collection, Engine, Passage, Pipeline, Request, StaticParameterizer, load_recipe
from paramrag.aggregate import concat
from paramrag.aggregate.joining import join
from paramrag.analyze.collapse import collapse
from paramrag.config import Recipe
from paramrag.errors import EvaluationError
from paramrag.evaluate import Question, load_questions, metric
from paramrag.evaluate.statistics import bootstrap_mean, paired_difference
from paramrag.models import prompt_ids
from paramrag.parameterize import DynamicParameterizer, task_adapter
from paramrag.parameterize.hypernet import Predictor
from paramrag.store.layout import AdapterLayout
from paramrag.types import Injection

TOP_K = 3
BATCH = 16
ANSWER_TOKENS = 24
STEPS = (1, 2, 4)
ARTICLES, OF_ARTICLE = 12, 3
"""Articles for the AUROC, and passages of each."""
FACTS = 4
"""Questions about a person, besides the file's own."""
WORDINGS = {
    "occupation": "How does {s} earn a living?",
    "hobby": "What does {s} like to do for fun?",
    "date of birth": "On which date was {s} born?",
}
KIN = "Name the {r} of {s}."
ASKED_KIN = ("mother", "father", "wife", "husband", "daughter", "son", "sister", "brother", "friend")


@dataclass(frozen=True)
class Asked:
    """A question and the passage that answers it."""

    question: Question
    own: Passage


def people(path: Path, count: int) -> tuple[list[Passage], list[Asked]]:
    """Returns people of phantomwiki, and questions about them."""
    known: dict[str, Passage] = {}
    single: dict[str, Question] = {}
    for question in load_questions(path):
        known |= {judged.passage.id: judged.passage for judged in question.passages}
        single[question.question] = question
    chosen = [known[key] for key in sorted(known)][:count]
    asked = [Asked(question, passage) for passage in chosen for question in _facts(passage)]
    for passage in chosen:
        own = re.compile(rf"Who is the \w+ of {re.escape(passage.title)}\?")
        asked += [Asked(question, passage) for text, question in single.items() if own.fullmatch(text)]
    return chosen, asked


def _facts(passage: Passage) -> Iterator[Question]:
    """Yields questions about a person: two or three attributes, then relatives."""
    told = re.findall(rf"The ([a-z ]+?) of {re.escape(passage.title)} is (.+?)\.(?:\n|$)", passage.text)
    facts = dict(told)
    wanted = [name for name in (*WORDINGS, *ASKED_KIN) if name in facts][:FACTS]
    for name in wanted:
        text = WORDINGS.get(name, KIN).format(s=passage.title, r=name)
        yield Question(f"{passage.title}: {name}", text, (facts[name],))


class Bench:
    """One engine; answers and scores."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.score = metric("has_answer").score

    def right(
        self, asked: Sequence[Asked], given: Callable[[Asked], tuple[Sequence[Passage], Injection | None]]
    ) -> list[float]:
        """HasAnswer, question by question, with passages in the prompt and an injection."""
        found: list[float] = []
        for start in range(0, len(asked), BATCH):
            some = asked[start : start + BATCH]
            requests = []
            for one in some:
                passages, injection = given(one)
                prompt = prompt_ids(self.engine.base.tokenizer, one.question.question, passages)
                requests.append(Request(prompt, injection, max_new_tokens=ANSWER_TOKENS))
            for one, completion in zip(some, self.engine.generate(requests), strict=True):
                found.append(self.score(completion.text, one.question) or 0.0)
        return found


class Rows:
    """Adapters of one recipe, by passage."""

    def __init__(self, engine: Engine, recipe: Recipe, rows: Mapping[str, np.ndarray]) -> None:
        self._layout, self._recipe, self._rows = engine.layout(recipe), recipe, rows
        self._beneath = task_adapter(engine, recipe) if recipe.task else None

    def injection(self, passages: Sequence[Passage], weights: Sequence[float]) -> Injection | None:
        """The weighted sum of the passages' adapters, on top of the task adapter if they were made so."""
        rows = np.stack([self._rows[passage.id] for passage in passages])
        return join([self._beneath, concat(self._layout, rows, weights, self._recipe.activation)])


def silent(predictor: Predictor) -> Predictor:
    """A hypernetwork that predicts adapters without effect: what do steps do without its prediction?"""
    network = copy.deepcopy(predictor.network)
    for name, parameter in network.named_parameters():
        if name.endswith(("copied", "mixed", "common_b")):
            parameter.data.zero_()
    recipe = predictor.recipe.model_copy(update={"checkpoint": "nothing"})
    return replace(predictor, network=network, recipe=recipe)


def gather(collection: Collection, engine: Engine, recipe: Recipe, passages: Iterable[Passage]) -> Rows:
    """Reads adapters."""
    ids = list(dict.fromkeys(passage.id for passage in passages))
    rows = collection.gather(ids, base=engine.fingerprint, recipe=recipe.id)
    return Rows(engine, recipe, dict(zip(ids, rows, strict=True)))


def halves(passage: Passage) -> list[Passage]:
    """Cuts a person in two: family and friends, attributes."""
    before, mark, after = passage.text.partition("## Attributes")
    return [replace(passage, text=part.strip(), start=0, end=0) for part in (before, mark + after)]


def articles(path: Path, count: int) -> list[Passage]:
    """Returns a few passages of each of so many articles."""
    by_title: dict[str, dict[str, Passage]] = {}
    for question in load_questions(path):
        for judged in question.passages:
            by_title.setdefault(judged.passage.title, {})[judged.passage.id] = judged.passage
    chosen = sorted(by_title)[:count]
    return [passage for title in chosen for passage in list(by_title[title].values())[:OF_ARTICLE]]


def geometry(
    parameterizer: DynamicParameterizer, chosen: Sequence[Passage], of_articles: Sequence[Passage]
) -> dict[str, Any]:
    """Measures of collapse of predicted adapters; one update for all where they are all zero."""
    layout: AdapterLayout = parameterizer.layout
    rows = parameterizer.predict(chosen)
    cut = [half for passage in chosen for half in halves(passage)]
    try:
        whole = collapse(layout, rows)
        split, told = (
            collapse(layout, parameterizer.predict(passages), [passage.title for passage in passages])
            for passages in (cut, of_articles)
        )
    except EvaluationError as error:
        return {"n": len(rows), "error": str(error)}
    return {
        "n": len(rows),
        "mean_cosine": round(whole.mean_cosine, 4),
        "effective_rank": round(whole.effective_rank, 2),
        "distance_from_mean": round(float(whole.distance_from_mean.mean()), 4),
        "auroc": None if told.auroc is None else round(told.auroc, 4),
        "auroc_from_mean": None if told.auroc_from_mean is None else round(told.auroc_from_mean, 4),
        "auroc_halves_of_people": None if split.auroc is None else round(split.auroc, 4),
        "alarms": list(whole.alarms),
    }


def swapped(chosen: Sequence[Passage]) -> dict[str, Passage]:
    """Gives each person the next one."""
    return {one.id: other for one, other in zip(chosen, [*chosen[1:], chosen[0]], strict=True)}


def measure(arguments: argparse.Namespace, work: Path, show: Callable[[str], None]) -> dict[str, Any]:
    """Runs everything."""
    engine = Engine("smollm2-135m-instruct", max_batch=BATCH, prefix_cache_bytes=2 << 30)
    bench = Bench(engine)
    chosen, asked = people(arguments.data / "phantomwiki.jsonl", arguments.people)
    of_articles = articles(arguments.data / "squad_xquad_en.jsonl", ARTICLES)
    collection = Collection.open(work / "people")
    collection.add(chosen)
    ids = [passage.id for passage in chosen]
    other = swapped(chosen)

    static = StaticParameterizer(engine, load_recipe(arguments.recipe), workers=1)
    seconds: dict[str, float] = {}

    def encode(name: str, parameterizer: StaticParameterizer | DynamicParameterizer) -> None:
        noted = work / "seconds.json"
        known = json.loads(noted.read_text("utf-8")) if noted.is_file() else {}
        report = parameterizer.encode(collection, ids)
        if report.encoded == len(ids):  # an interrupted run does not tell how long it takes
            known[name] = report.seconds / len(ids)
            noted.write_text(json.dumps(known), encoding="utf-8")
        seconds.update(known)
        show(f"{name}: {report.encoded} made, {len(report.failed)} failed, {report.seconds:.1f} s")

    scores: dict[str, list[float]] = {}

    def ask(name: str, questions: Sequence[Asked], given: Callable[[Asked], Any]) -> None:
        scores[name] = bench.right(questions, given)
        show(f"  {name}: {100 * np.mean(scores[name]):.1f}, n = {len(questions)}")

    dynamic = DynamicParameterizer(engine, arguments.hypernet)
    encode("predict", dynamic)
    predicted = gather(collection, engine, dynamic.recipe, chosen)
    task = task_adapter(engine, dynamic.recipe) if dynamic.recipe.task else None
    ask("vanilla", asked, lambda one: ([], None))
    ask("task", asked, lambda one: ([], task))
    ask("dyp-own", asked, lambda one: ([], predicted.injection([one.own], [1.0])))
    ask("dyp-swapped", asked, lambda one: ([], predicted.injection([other[one.own.id]], [1.0])))
    encode("static", static)
    trained = gather(collection, engine, static.recipe, chosen)
    ask("p-own", asked, lambda one: ([], trained.injection([one.own], [1.0])))
    for steps in STEPS:
        refining = DynamicParameterizer(engine, dynamic.predictor, refine=steps)
        encode(f"predict + {steps}", refining)
        refined = gather(collection, engine, refining.recipe, chosen)
        ask(f"dyp-own + {steps}", asked, lambda one, refined=refined: ([], refined.injection([one.own], [1.0])))
    control = DynamicParameterizer(engine, silent(dynamic.predictor), refine=STEPS[-1])
    encode(f"nothing + {STEPS[-1]}", control)
    unaided = gather(collection, engine, control.recipe, chosen)
    ask(f"nothing-own + {STEPS[-1]}", asked, lambda one: ([], unaided.injection([one.own], [1.0])))
    sets: dict[str, tuple[Collection, list[Asked]]] = {"phantomwiki": (collection, asked)}
    popqa = [question for question in load_questions(arguments.data / "popqa.jsonl") if question.gold_ids]
    pages = Collection.open(work / "popqa")
    popqa = popqa[: arguments.questions]
    pages.add(list({judged.passage.id: judged.passage for one in popqa for judged in one.passages}.values()))
    sets["popqa"] = (pages, [Asked(one, next(j.passage for j in one.passages if j.gold)) for one in popqa])
    for name, (source, questions) in sets.items() if arguments.questions else ():
        some = questions[: arguments.questions]
        found_ids = {hit.passage.id for one in some for hit in source.search(one.question.question, TOP_K)}
        DynamicParameterizer(engine, dynamic.predictor).encode(source, sorted(found_ids))

        def pipeline(mode: str, beneath: Injection | None = None, source: Collection = source) -> Pipeline:
            return Pipeline(
                source,
                engine,
                mode,
                top_k=TOP_K,
                recipe=dynamic.recipe,
                max_new_tokens=ANSWER_TOKENS,
                base_injection=beneath,
            )

        ways = {mode: pipeline(mode) for mode in ("t-rag", "t-rag-late", "dyp-rag", "dypt-rag", "dypt-rag-late")}
        for way, asking in {**ways, "t-rag task": pipeline("t-rag", task)}.items():
            answers = asking.ask_many([one.question.question for one in some])
            scores[f"{name} {way}"] = [
                bench.score(answer.text, one.question) or 0.0 for answer, one in zip(answers, some, strict=True)
            ]
            show(f"  {name} {way}: {100 * np.mean(scores[f'{name} {way}']):.1f}, n = {len(some)}")
    found: dict[str, Any] = {
        "hypernet": str(arguments.hypernet),
        "recipe": dynamic.recipe.id,
        "people": len(chosen),
        "seconds_per_passage": {name: round(value, 4) for name, value in seconds.items()},
        "has_answer": {
            name: {key: round(100 * value, 1) for key, value in asdict(bootstrap_mean(values)).items() if key != "n"}
            | {"n": len(values)}
            for name, values in scores.items()
        },
        "geometry": geometry(dynamic, chosen, of_articles),
    }
    if arguments.baseline:
        found["baseline"] = baseline(bench, engine, arguments.baseline, chosen, asked, of_articles, show)
    return {**found, "bars": bars(found, scores, seconds)}


def baseline(
    bench: Bench,
    engine: Engine,
    folder: Path,
    chosen: Sequence[Passage],
    asked: Sequence[Asked],
    of_articles: Sequence[Passage],
    show: Callable[[str], None],
) -> dict[str, Any]:
    """The published hypernetwork by the same measures."""
    start = time.perf_counter()
    published = DynamicParameterizer(engine, folder)
    rows = Rows(engine, published.recipe, {p.id: r for p, r in zip(chosen, published.predict(chosen), strict=True)})
    other = swapped(chosen)
    own = bench.right(asked, lambda one: ([], rows.injection([one.own], [1.0])))
    swap = bench.right(asked, lambda one: ([], rows.injection([other[one.own.id]], [1.0])))
    took = time.perf_counter() - start
    show(f"baseline: own {100 * np.mean(own):.1f}, swapped {100 * np.mean(swap):.1f}, {took:.0f} s")
    return {
        "own": round(100 * float(np.mean(own)), 1),
        "swapped": round(100 * float(np.mean(swap)), 1),
        "n": len(own),
        "geometry": geometry(published, chosen, of_articles),
    }


def bars(
    found: Mapping[str, Any], scores: Mapping[str, list[float]], seconds: Mapping[str, float]
) -> list[dict[str, Any]]:
    """What was to be reached."""
    made = []
    if "baseline" in found:
        shape = found["baseline"]["geometry"]
        alarms = len(shape.get("alarms", [])) + int("error" in shape)
        alarms += int(found["baseline"]["own"] - found["baseline"]["swapped"] < 2)
        made.append(_bar("published baseline: alarms of collapse", alarms, 1))
    swap = paired_difference(scores["dyp-swapped"], scores["dyp-own"])
    made.append(_bar("own minus swapped HasAnswer, unseen people, points", 100 * swap.mean, 15))
    made.append(_bar("AUROC, one article against two", found["geometry"].get("auroc") or 0.0, 0.9))
    static = float(np.mean(scores["p-own"]))
    share = float(np.mean(scores["dyp-own"])) / static if static else 0.0
    made.append(_bar("DyP-RAG / static P-RAG HasAnswer, unseen people", share, 0.5))
    for name in [name for name in ("phantomwiki", "popqa") if f"{name} t-rag" in scores]:
        for way in ("dypt-rag", "dypt-rag-late"):
            gain = paired_difference(scores[f"{name} t-rag"], scores[f"{name} {way}"])
            made.append(_bar(f"{name}: {way} minus t-rag, lower end of 95 %, points", 100 * gain.low, 0))
    if {"static", "predict", "predict + 4"} <= seconds.keys():
        made.append(_bar("static / predicting time", seconds["static"] / seconds["predict"], 20))
        made.append(
            _bar("time of predict + 4 steps / static", seconds["predict + 4"] / seconds["static"], 1 / 3, "lower")
        )
    kept = float(np.mean(scores["dyp-own + 4"])) / static if static else 0.0
    made.append(_bar("HasAnswer of predict + 4 steps / static", kept, 0.9))
    return made


def _bar(name: str, value: float, bar: float, better: str = "higher") -> dict[str, Any]:
    met = value >= bar if better == "higher" else value <= bar
    return {"name": name, "value": round(float(value), 3), "bar": round(bar, 3), "better": better, "met": bool(met)}


def main() -> None:
    """Prints what was measured as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--hypernet", type=Path, required=True)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--questions", type=int, default=60, help="of each set, with text; 0: none")
    parser.add_argument("--recipe", default="default", help="of the trained adapters")
    parser.add_argument("--work", type=Path, help="keeps collections and adapters; a temporary one where not given")
    parser.add_argument("--json", action="store_true", help="one line")
    arguments = parser.parse_args()

    def show(line: str) -> None:
        if not arguments.json:
            print(line, flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        result = measure(arguments, work, show)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
