"""`paramrag demo`: the whole story on a shipped corpus of invented facts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import console, count, duration, emit, facts, percent, table
from .outcome import resumable
from .progress import bars

if TYPE_CHECKING:
    from rich.console import Console

    from ..demo.run import DemoReport

_STAGES = {"model": "load model", "add": "add and index", "encode": "encode", "answer": "answer", "total": "in all"}


def run(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the collection goes.")] = Path(
        "demo-collection"
    ),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Questions to ask in every mode.  [default: what minutes allow]")
    ] = None,
    self_augment: Annotated[
        bool, typer.Option("--self-augment", help="Let the local model make the training items.")
    ] = False,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="Shipped recipe or YAML file.")] = "default",
    model: options.Model = options.DEFAULT_MODEL,
    json: options.Json = False,
) -> None:
    """See the whole story on an invented country.

    Builds a collection, encodes it, and asks it in seven modes. Nothing in it is true, so what the model answers right
    it has from the text or from an adapter. Takes minutes on two cores; interrupted, it goes on where it was.
    """
    from ..demo.run import QUESTIONS, run_demo

    with resumable(), bars(quiet=json) as progress:
        report = run_demo(
            directory,
            model=model,
            recipe=recipe,
            limit=limit or QUESTIONS,
            self_augment=self_augment,
            progress=progress,
        )
    emit(report.to_json()) if json else _show(report, console(), self_augment)


def _show(report: DemoReport, screen: Console, self_augment: bool) -> None:
    asked = next(iter(report.modes.values())).n
    screen.print(
        f"\n{count(report.passages, 'passage')} about a country that does not exist, each an adapter of {report.model}."
        f"\n{count(asked, 'question')}, {len(report.modes)} ways to answer them:\n"
    )
    numbers = ("HasAnswer", "95 % interval", "seconds", "prompt tokens")
    shown = table("mode", "passages in", *numbers, right=numbers)
    places = {
        "vanilla": "-",
        "t-rag": "the prompt",
        "t-rag-late": "prompts",
        "p-rag": "the weights",
        "p-rag-late": "the weights",
        "pt-rag": "both",
        "pt-rag-late": "both, apart",
    }
    for mode, found in report.modes.items():
        interval = f"{percent(found.ci95[0])} - {percent(found.ci95[1])}"
        costs = (f"{found.seconds:,.1f}", f"{found.prompt_tokens:,.0f}")
        shown.add_row(mode, places[mode], f"{percent(found.has_answer)} %", interval, *costs)
    screen.print(shown)
    hit = next((name for name in ("hit@3", "hit@1") if name in report.retrieval), None)
    if hit:
        screen.print(
            f"BM25 has a gold passage among its first {hit[-1]} for {percent(report.retrieval[hit])} % of them.",
            style="dim",
        )
    for example in report.examples:
        screen.print(f"\n{example.question}  ({example.kind})", style="bold")
        rows = {f"{'+' if right else ' '} {mode}": answer for mode, (answer, right) in example.answers.items()}
        gold = {"  gold": example.gold}
        screen.print(facts(gold | {name: " ".join(answer.split()) or "(nothing)" for name, answer in rows.items()}))
    times = [f"{_STAGES[stage]} {duration(seconds)}" for stage, seconds in report.timings_s.items()]
    screen.print(f"\nTime: {', '.join(times)}")
    screen.print(f"Adapters: {report.encode.encoded} made, {report.encode.present} there already")
    if self_augment:
        screen.print("Training items: made here by the local model, topped up by rules")
    else:
        screen.print("Training items: shipped with the corpus; --self-augment lets the local model make them")
    screen.print("\nGo on with:", style="bold")
    # Not wrapped: these are to be copied.
    screen.print(f'  paramrag ask {report.directory} "What is the capital of Vellmark?" --compare', soft_wrap=True)
    screen.print("  paramrag add mydocs FILES... && paramrag encode mydocs  # then ask mydocs")
