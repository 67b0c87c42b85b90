"""`paramrag study`: the cells of a study, and the tables of what they found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .command import command_line
from .console import console, count, duration, emit, size, table
from .encode import estimate_json
from .outcome import FAILED, PARTLY, complain, resumable
from .progress import bars
from .session import load_engine

if TYPE_CHECKING:
    from rich.console import Console

    from ..parameterize import EncodeEstimate


def run(
    context: typer.Context,
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="YAML file, such as recipes/study-main.yaml.")],
    data: Annotated[Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of question files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where collections, runs and tables go.")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Questions per data set, instead of what the study says.")
    ] = None,
    sets: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these of its data sets, with commas between.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Put the tables into this Markdown document too.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what encoding would cost; encode nothing.")] = False,
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Run a study.

    Data sets, settings and modes, each cell an evaluation with n and intervals.

    Interrupted, it goes on where it was when it is run again. Cells that several studies have in common are run once.
    """
    from ..evaluate.study import Outcome, Runner, load_study
    from ..report.study import study_tables, write_section

    chosen = load_study(study)
    with resumable(), bars(quiet=json) as progress:
        runner = Runner(
            load_engine(model, device, dtype, progress), data, out, limit=limit, sets=_sets(sets, chosen.data)
        )
        file = out / f"{chosen.name}.md"

        def say(line: str) -> None:
            typer.echo(line, err=True)

        def told(outcome: Outcome) -> None:
            text = study_tables(
                outcome.runs,
                name=chosen.name,
                question=chosen.question,
                metric=chosen.metric,
                reference=chosen.reference,
                failed=outcome.failed,
                command=command_line(context),
                missing=outcome.missing,
            )
            file.write_text(text, encoding="utf-8")
            if write:
                write_section(write, chosen.name, text)

        costs = list(runner.estimate(chosen, progress, say if dry_run else lambda line: None))
        answers = runner.answers(chosen)
        if not json or not dry_run:
            _show_costs(costs, answers, console(stderr=not dry_run))
        if not dry_run:
            outcome = runner.run(chosen, say=say, after=told, progress=progress)
    if dry_run:
        if json:
            adapters = [{"data": name, "recipe": recipe, **estimate_json(cost)} for name, recipe, cost in costs]
            emit({"adapters": adapters, "answers": answers})
        return
    if not outcome.runs:
        complain(f"none of the {count(len(outcome.failed), 'cell')} could be run")
        raise typer.Exit(FAILED)
    told(outcome)
    if json:
        emit({"runs": [str(path) for path in outcome.runs], "failed": list(outcome.failed), "tables": str(file)})
    else:
        console().print(f"{count(len(outcome.runs), 'cell')}; tables: {file}")
    if outcome.failed:
        raise typer.Exit(PARTLY)


def _sets(given: str | None, known: Sequence[str]) -> list[str]:
    names = [] if given is None else options.names_in(given, "--sets")
    for name in names:
        if name not in known:
            raise typer.BadParameter(
                f"{name!r} is none of the study's data sets: {', '.join(known)}", param_hint="--sets"
            )
    return names


def _show_costs(costs: Sequence[tuple[str, str, EncodeEstimate]], answers: int, screen: Console) -> None:
    """Says what is to be made and asked, before it is."""
    numbers = ("adapters to make", "about", "size")
    shown = table("data", "recipe", *numbers, right=numbers)
    for name, recipe, cost in costs:
        if cost.passages:
            shown.add_row(name, recipe, f"{cost.passages:,}", duration(cost.seconds), size(cost.bytes))
    if shown.row_count:
        screen.print(shown)
    total = duration(sum(cost.seconds for _, _, cost in costs))
    screen.print(f"adapters: about {total}; then {count(answers, 'answer')} to ask", style="dim")
