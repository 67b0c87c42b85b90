"""`paramrag analyze all`: every analysis of a collection, into figures, a section of a document and the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options
from ..command import command_line
from ..console import console, count, emit
from ..evaluate import encode_needed
from ..outcome import FAILED, PARTLY, complain, resumable
from ..progress import bars
from ..session import choose_recipe
from .asking import Data, Limit, Session, open_session

if TYPE_CHECKING:
    from ...evaluate.cell import Cell


def everything(
    context: typer.Context,
    directory: options.Directory,
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results and figures go, part by part.")],
    limit: Limit = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Only these: pks-own, pks-gold, similarity, collapse, layers, attention, override, explanation.",
        ),
    ] = None,
    controls: Annotated[
        int, typer.Option(min=0, help="Train so many adapters again, with another seed and of shuffled text.")
    ] = 0,
    band: Annotated[
        list[str] | None, typer.Option(metavar="LAYERS", help="As 15-29 or last-half; may be repeated. [quarters]")
    ] = None,
    trained: Annotated[
        list[str] | None, typer.Option(metavar="RECIPE", help="Also adapters of another recipe; may be repeated.")
    ] = None,
    encode: Annotated[bool, typer.Option("--encode", help="First make the adapters that the questions need.")] = False,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Put the section into this Markdown document too.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Its figures.  [default: figures beside the document]", show_default=False),
    ] = None,
    top_k: options.TopK = 3,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    retriever: options.Retriever = "bm25",
    aggregator: options.Aggregator = "concat",
    weighting: options.Weighting = "evidence",
    max_new_tokens: options.MaxNewTokens = 32,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Run every analysis, and write figures and a section of what they say.

    Interrupted, it goes on with the part it was at when it is run again. Parts of other collections or questions may
    go into the same --out, such as --parts override of a conflict set: the section tells of all that is there.
    """
    chosen = options.names_in(parts, "--parts") if parts else None
    section_of = out / "inside.md"
    asking = {
        "top_k": top_k,
        "retriever": retriever,
        "aggregator": aggregator,
        "weighting": weighting,
        "max_new_tokens": max_new_tokens,
    }
    session = open_session(
        directory, data, limit, section_of.with_suffix(".png"), recipe, model, device, dtype, json, asking
    )
    from ...analyze.inside import PARTS, Subject, look_inside
    from ...report.inside import inside_section, read_inside
    from ...report.study import write_section

    failed: dict[str, str] = {}

    def told() -> None:
        found = read_inside(out)
        section_of.write_text(inside_section(found, out / "figures", section_of, failed), encoding="utf-8")
        if write:
            text = inside_section(found, figures or write.parent / "figures", write, failed)
            write_section(write, "inside", text)

    with resumable(), bars(quiet=json) as progress:
        if encode:
            encode_needed(_cell(session, asking), ["pt-rag"], None, quiet=json)
        subject = Subject(
            session.pipeline,
            session.questions,
            controls=controls,
            trained=tuple(choose_recipe(session.collection, session.engine, name) for name in trained or ()),
            bands=tuple(band or ()),
            seed=seed,
            progress=progress,
        )
        about = {"data": data.stem, "retriever": retriever, "command": command_line(context)}
        failed |= look_inside(
            subject,
            out,
            chosen or tuple(PARTS),
            about=about,
            say=lambda line: typer.echo(line, err=True),
            after=told,
        )
        told()
    done = [part.name for part in read_inside(out)]
    if json:
        emit({"parts": done, "failed": failed, "section": str(section_of)})
    else:
        console().print(f"{count(len(done), 'part')}; section: {write or section_of}")
    for name, why in failed.items():
        complain(why, label=f"{name} was not run")
    if failed:
        raise typer.Exit(PARTLY if done else FAILED)


def _cell(session: Session, settings: Mapping[str, Any]) -> Cell:
    """What tells which adapters the questions need."""
    from ...evaluate.cell import Cell, Setting

    return Cell(session.collection, session.engine, session.questions, Setting(session.recipe, **settings))
