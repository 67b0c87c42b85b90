"""`paramrag report`: evaluations as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import console, count, emit
from .options import Json


def run(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The --out directory of an evaluation, or of many.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page.  [default: DIR/report.html]", show_default=False)
    ] = None,
    metric: Annotated[str, typer.Option(help="What accuracy is.")] = "has_answer",
    samples: Annotated[int, typer.Option(min=0, help="Questions to show one by one, per data set and setting.")] = 200,
    json: Json = False,
) -> None:
    """Show evaluations on one page.

    Figures, tables, and every question with what each mode saw and said.

    The page needs nothing beside it. Figures (SVG, PNG) and tables (Markdown) go to a folder next to it.
    """
    from .. import report

    written = report.report(directory, out, metric=metric, samples=samples)
    if json:
        emit({"page": str(written.page), "files": [str(file) for file in written.files], "cells": written.cells})
        return
    screen = console()
    screen.print(f"{written.page}: {count(written.cells, 'cell')}")
    screen.print(f"figures and tables: {written.files[0].parent}", style="dim")
