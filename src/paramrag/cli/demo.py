"""`paramrag demo`: the whole story on a shipped corpus of invented facts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import console, count, duration, emit, percent, table
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
        bool, typer.Option("--self-augment", help="Make the training items here instead of taking the shipped ones.")
    ] = False,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="Shipped recipe or YAML file.")] = "default",
    model: options.Model = options.DEFAULT_MODEL,
    json: options.Json = False,
) -> None:
    """See the whole story on an invented country.

    Builds a collection, encodes it, and asks it in four modes. Nothing in it is true, so what the model answers right
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
    screen.print(
        f"\n{report.passages} passages about a country that does not exist, each encoded as an adapter of "
        f"{report.model}.\n{next(iter(report.modes.values())).n} questions, four ways to answer them:\n"
    )
    numbers = ("HasAnswer %", "95 % interval", "seconds", "prompt tokens")
    shown = table("mode", "passages go into", *numbers, right=numbers)
    places = {"vanilla": "nothing", "t-rag": "the prompt", "p-rag": "the weights", "pt-rag": "both"}
    for mode, found in report.modes.items():
        interval = f"{percent(found.ci95[0])} - {percent(found.ci95[1])}"
        costs = (f"{found.seconds:,.1f}", f"{found.prompt_tokens:,.0f}")
        shown.add_row(mode, places[mode], percent(found.has_answer), interval, *costs)
    screen.print(shown)
    hit = next((name for name in ("hit@3", "hit@1") if name in report.retrieval), None)
    if hit:
        screen.print(f"BM25 finds a gold passage among the first {hit[-1]} for {percent(report.retrieval[hit])} %.")
    for example in report.examples:
        screen.print(f"\n{example.question}", style="bold")
        screen.print(f"{example.gold}  ({example.kind})", style="dim")
        for mode, (answer, right) in example.answers.items():
            screen.print(f"  {'+' if right else ' '} {mode:<8} {' '.join(answer.split()) or '(nothing)'}")
    screen.print()
    times = [f"{_STAGES[stage]} {duration(seconds)}" for stage, seconds in report.timings_s.items()]
    made = f"{count(report.encode.encoded, 'adapter')} made, {report.encode.present} there already"
    screen.print(f"Time: {', '.join(times)} ({made}).")
    if self_augment:
        screen.print("The training items were made here, from the passages alone.")
    else:
        screen.print("The training items of this corpus are shipped; --self-augment makes them here instead.")
    screen.print("\nGo on with:", style="bold")
    screen.print(f'  paramrag ask {report.directory} "What is the capital of Vellmark?" --compare')
    screen.print("  paramrag add mydocs FILES... && paramrag encode mydocs")
