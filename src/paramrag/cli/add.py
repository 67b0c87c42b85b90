"""`paramrag add`: files and folders into a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import count, emit
from .options import Directory, Json
from .outcome import FAILED, PARTLY, resumable
from .progress import bars

_LISTED = 20


def run(
    directory: Directory,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", exists=True, help="Files and folders to read.")],
    words: Annotated[int, typer.Option(min=1, help="Words per passage, about.")] = 100,
    json: Json = False,
) -> None:
    """Read documents into a collection.

    They are cut into passages and indexed; the collection is created where DIR is new. Adding again is a no-op; a
    changed file replaces its passages. Reads text, Markdown, HTML, PDF, JSON lines, and the corpora of BEIR,
    FlashRAG and KILT.
    """
    from ..store import Collection

    with resumable(), bars(quiet=json) as progress:
        collection = Collection.open(directory)
        report = collection.add(paths, words=words, progress=progress)
    documents = report.added + report.replaced + report.unchanged
    if json:
        emit(
            {
                "added": report.added,
                "replaced": report.replaced,
                "unchanged": report.unchanged,
                "removed": report.removed,
                "passages": report.passages,
                "skipped": [{"path": entry.path, "reason": entry.reason} for entry in report.skipped],
            }
        )
    else:
        done = [
            ("added", report.added),
            ("replaced", report.replaced),
            ("unchanged", report.unchanged),
            ("removed", report.removed),
        ]
        verbs = ", ".join(f"{number:,} {verb}" for verb, number in done if number) or "none added"
        typer.echo(f"documents: {verbs}; {count(report.passages, 'new passage')} in {directory}")
        if report.added or report.replaced:
            typer.echo(f"next: paramrag encode {directory}")
    if report.skipped:
        typer.secho(f"skipped {len(report.skipped)}:", fg="yellow", err=True)
        for entry in report.skipped[:_LISTED]:
            typer.echo(f"  {entry.path}: {entry.reason}", err=True)
        if len(report.skipped) > _LISTED:
            typer.echo(f"  and {len(report.skipped) - _LISTED} more; --json lists them all", err=True)
        raise typer.Exit(PARTLY if documents else FAILED)
