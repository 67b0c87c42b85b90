"""`paramrag study`: the cells of a study, and the tables of what they found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .console import console, count, duration, emit, size, table
from .encode import estimate_json
from .outcome import FAILED, PARTLY, complain, resumable
from .progress import bars
from .session import load_engine


def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="YAML file, such as recipes/study-main.yaml.")],
    data: Annotated[Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of question files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where collections, runs and tables go.")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Questions per data set, instead of what the study says.")
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
    from ..evaluate.study import Runner, load_study
    from ..report.study import study_tables, write_section

    chosen = load_study(study)
    with resumable(), bars(quiet=json) as progress:
        runner = Runner(load_engine(model, device, dtype, progress), data, out, limit=limit)
        if dry_run:
            costs = list(runner.estimate(chosen, progress))
        else:
            outcome = runner.run(chosen, say=lambda line: typer.echo(line, err=True), progress=progress)
    if dry_run:
        if json:
            emit(
                {"adapters": [{"data": name, "recipe": recipe, **estimate_json(cost)} for name, recipe, cost in costs]}
            )
            return
        numbers = ("adapters to make", "about", "size")
        shown = table("data", "recipe", *numbers, right=numbers)
        for name, recipe, cost in costs:
            shown.add_row(name, recipe, f"{cost.passages:,}", duration(cost.seconds), size(cost.bytes))
        console().print(shown)
        return
    if not outcome.runs:
        complain(f"none of the {count(len(outcome.failed), 'cell')} could be run")
        raise typer.Exit(FAILED)
    text = study_tables(
        outcome.runs,
        name=chosen.name,
        question=chosen.question,
        metric=chosen.metric,
        reference=chosen.reference,
        failed=outcome.failed,
    )
    file = out / f"{chosen.name}.md"
    file.write_text(text, encoding="utf-8")
    if write:
        write_section(write, chosen.name, text)
    if json:
        emit({"runs": [str(path) for path in outcome.runs], "failed": list(outcome.failed), "tables": str(file)})
    else:
        console().print(f"{count(len(outcome.runs), 'cell')}; tables: {file}")
    if outcome.failed:
        raise typer.Exit(PARTLY)
