"""`paramrag eval`: a file of questions through the modes, with intervals, logged sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import console, emit, percent, table
from .encode import show_estimate, show_report
from .outcome import PARTLY, resumable
from .progress import bars
from .session import choose_recipe, load_engine, open_collection

if TYPE_CHECKING:
    from ..evaluate import Estimate, Question, Summary
    from ..parameterize import StaticParameterizer
    from ..store import Collection


def run(
    directory: options.Directory,
    data: Annotated[
        Path, typer.Option(metavar="FILE", exists=True, help="Questions: our JSONL, FlashRAG, KILT, PRAG or BEIR.")
    ],
    modes: Annotated[str, typer.Option(metavar="A,B", help="Modes to ask in, with commas between.")] = "t-rag,pt-rag",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Directory of the run; makes it resumable and comparable.")
    ] = None,
    encode: Annotated[
        bool, typer.Option("--encode/--no-encode", help="First encode what is retrieved and has no adapter.")
    ] = False,
    top_k: options.TopK = 3,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    retriever: options.Retriever = "bm25",
    aggregator: options.Aggregator = "concat",
    weighting: options.Weighting = "score",
    max_new_tokens: options.MaxNewTokens = 32,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Measure modes on a file of questions.

    Every mean comes with its 95 % interval. A question that fails is counted, and scores as an empty answer.
    """
    names = list(dict.fromkeys(name.strip() for name in modes.split(",") if name.strip()))
    if not names:
        raise typer.BadParameter("names no mode; expected some such as t-rag,pt-rag", param_hint="--modes")
    from .. import evaluate
    from ..parameterize import StaticParameterizer
    from ..pipeline import Pipeline

    collection = open_collection(directory)
    questions = evaluate.load_questions(data, limit)
    advice = "Nothing is lost; run the same command again to go on." if out else "Give --out to go on where it stopped."
    with resumable(advice):
        with bars(quiet=json) as progress:
            engine = load_engine(model, device, dtype, progress)
        chosen = choose_recipe(collection, engine, recipe)
        pipelines = {
            name: Pipeline(
                collection,
                engine,
                name,
                top_k=top_k,
                recipe=chosen,
                retriever=retriever,
                aggregator=aggregator,
                weighting=weighting,
                max_new_tokens=max_new_tokens,
                seed=seed,
            )
            for name in names
        }
        if encode:
            _encode_retrieved(StaticParameterizer(engine, chosen), collection, retriever, top_k, questions, quiet=json)
        with bars(quiet=json) as progress:
            summary = evaluate.evaluate(
                pipelines,
                questions,
                out,
                configuration={
                    "model": engine.fingerprint,
                    "recipe": chosen.id,
                    "top_k": top_k,
                    "retriever": retriever,
                    "aggregator": aggregator,
                    "weighting": weighting,
                    "max_new_tokens": max_new_tokens,
                },
                seed=seed,
                progress=progress,
            )
    emit(summary.to_json()) if json else _show(summary, out)
    if any(found.failed for found in summary.modes.values()):
        raise typer.Exit(PARTLY)


def _encode_retrieved(
    parameterizer: StaticParameterizer,
    collection: Collection,
    retriever: str,
    top_k: int,
    questions: Sequence[Question],
    *,
    quiet: bool,
) -> None:
    """Encodes the passages that the questions retrieve and that have no adapter; says first what it costs."""
    from ..retrieve import retriever as retriever_of

    retrieve = retriever_of(retriever, collection)
    wanted: dict[str, None] = {}
    with bars(quiet=quiet) as progress:
        for done, question in enumerate(questions, 1):
            wanted.update((hit.passage.id, None) for hit in retrieve(question.question, top_k))
            if progress:
                progress("retrieve", done, len(questions))
    passage_ids = list(wanted)
    if collection.encoded(parameterizer.engine.fingerprint, parameterizer.recipe.id).issuperset(passage_ids):
        return
    show_estimate(parameterizer.estimate(collection, passage_ids), parameterizer.recipe.name, console(stderr=True))
    with bars(quiet=quiet) as progress:
        report = parameterizer.encode(collection, passage_ids, progress=progress)
    show_report(report, console(stderr=True))


def _show(summary: Summary, out: Path | None) -> None:
    shown = table("", *summary.modes, right=list(summary.modes))
    shown.add_row("questions", *(str(found.n) for found in summary.modes.values()))
    if any(found.failed for found in summary.modes.values()):
        shown.add_row("failed", *(str(found.failed) for found in summary.modes.values()))
    for name in dict.fromkeys(name for found in summary.modes.values() for name in found.metrics):
        shown.add_row(name, *(_cell(name, found.metrics.get(name)) for found in summary.modes.values()))
    screen = console()
    screen.print(shown)
    screen.print("mean [95 % interval]; scores in percent, answer_length in words", style="dim")
    if summary.retrieval.get("n"):
        found = ", ".join(f"{name} {percent(value)}" for name, value in summary.retrieval.items() if "@" in name)
        screen.print(f"retrieval: {found}, of {summary.retrieval['n']:.0f} with gold passages", style="dim")
    if out:
        screen.print(f"samples and summary: {out}", style="dim")


def _cell(name: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    scale = 1 if name == "answer_length" else 100
    return f"{scale * estimate.mean:.1f} [{scale * estimate.low:.1f}, {scale * estimate.high:.1f}]"
