"""`paramrag collection ls|show|rm|verify|compact`: what a collection holds, and its care."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NotFoundError, did_you_mean
from .console import console, count, emit, facts, size, table
from .options import Directory, Json
from .outcome import PARTLY, resumable
from .progress import bars
from .session import open_collection, warn_of_foreign_recipes

if TYPE_CHECKING:
    from ..store import Collection, DocumentRecord

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into a collection, take care of it.")


@app.command("ls")
def ls(directory: Directory, json: Json = False) -> None:
    """List the documents."""
    documents = open_collection(directory).documents()
    if json:
        emit({"documents": [{"id": d.id, "title": d.title, "passages": len(d.passage_ids)} for d in documents]})
        return
    shown = table("title", "passages", "document", right=("passages",), wide=("title", "document"))
    for document in documents:
        shown.add_row(document.title, f"{len(document.passage_ids):,}", _near(document.id))
    screen = console()
    screen.print(shown)
    passages = len({key for document in documents for key in document.passage_ids})
    screen.print(f"{count(len(documents), 'document')}, {count(passages, 'passage')}", style="dim")


@app.command("show")
def show(
    directory: Directory,
    what: Annotated[str | None, typer.Argument(metavar="[ID]", help="A document, file or passage to read.")] = None,
    json: Json = False,
) -> None:
    """Show how much there is; or one document or passage with its adapters."""
    collection = open_collection(directory)
    if what is None:
        _show_all(collection, json)
        return
    known = {document.id: document for document in collection.documents()}
    if what in collection.passage_ids():
        passage_ids: tuple[str, ...] = (what,)
    else:
        documents = [known[found] for found in _document_ids(what, known)]
        passage_ids = tuple(dict.fromkeys(key for document in documents for key in document.passage_ids))
    _show_passages(collection, passage_ids, json)


@app.command("rm")
def rm(
    directory: Directory,
    documents: Annotated[
        list[str],
        typer.Argument(
            metavar="DOCUMENT...", help="Id, path or title. The path of a corpus file means all its records."
        ),
    ],
    json: Json = False,
) -> None:
    """Forget documents, with their passages, training items and adapters.

    Nothing answers from them any more. `compact` erases their bytes too.
    """
    collection = open_collection(directory)
    known = {document.id: document for document in collection.documents()}
    with resumable(), bars(quiet=json) as progress:
        report = collection.remove([found for name in documents for found in _document_ids(name, known)], progress)
    if json:
        emit(asdict(report))
    else:
        typer.echo(
            f"forgot {count(report.documents, 'document')}, {count(report.passages, 'passage')}, "
            f"{count(report.items, 'training item')}, {count(report.adapters, 'adapter')}"
        )


@app.command("verify")
def verify(directory: Directory, json: Json = False) -> None:
    """Read everything and report damage. Exit code 1 where there is any."""
    report = open_collection(directory).verify()
    if json:
        emit(asdict(report) | {"ok": report.ok})
    else:
        typer.echo(
            f"read {count(report.documents, 'document')}, {count(report.passages, 'passage')}, "
            f"{count(report.items, 'training item')}, {count(report.adapters, 'adapter')}"
        )
        for problem in report.problems:
            typer.secho(f"damaged: {problem}", fg="red")
        for trace in report.unfinished:
            typer.secho(f"unfinished: {trace}", fg="yellow")
        typer.echo("all is well" if report.ok else f"next: paramrag collection compact {directory}")
    if report.problems:
        raise typer.Exit(PARTLY)


@app.command("compact")
def compact(directory: Directory, json: Json = False) -> None:
    """Merge small files, and erase what was removed or replaced."""
    collection = open_collection(directory)
    with resumable(), bars(quiet=json) as progress:
        report = collection.compact(progress)
    if json:
        emit(asdict(report))
    else:
        typer.echo(
            f"{size(report.bytes_before)} in {count(report.files_before, 'file')} became "
            f"{size(report.bytes_after)} in {count(report.files_after, 'file')}"
        )


def _show_all(collection: Collection, json: bool) -> None:
    stats, recipes = collection.stats(), collection.recipes()
    warn_of_foreign_recipes(collection)
    held = [
        {"name": r.recipe.name, "id": r.recipe.id, "base": r.base, "adapters": r.adapters, "numbers": r.layout.size}
        for r in recipes
    ]
    if json:
        emit(asdict(stats) | {"recipes": held})
        return
    screen = console()
    screen.print(
        facts(
            {
                "documents": f"{stats.documents:,}",
                "passages": f"{stats.passages:,}",
                "training items": f"{stats.items:,}",
                "adapters": f"{stats.adapters:,}",
                "on disk": size(stats.size_bytes),
            }
        )
    )
    if recipes:
        shown = table("recipe", "id", "base model", "adapters", "rank", "layers", right=("adapters", "rank", "layers"))
        for record in recipes:
            rank, layers = str(record.layout.rank), str(len(record.layout.layers))
            shown.add_row(record.recipe.name, record.recipe.id, record.base, f"{record.adapters:,}", rank, layers)
        screen.print()
        screen.print(shown)


def _show_passages(collection: Collection, passage_ids: tuple[str, ...], json: bool) -> None:
    recipes = collection.recipes()
    encoded = [(record.recipe.id, collection.encoded(record.base, record.recipe.id)) for record in recipes]
    documents = collection.document_of(passage_ids)
    found: list[dict[str, Any]] = [
        {
            "passage_id": passage.id,
            "document_id": documents[passage.id],
            "title": passage.title,
            "text": passage.text,
            "recipes": [recipe_id for recipe_id, having in encoded if passage.id in having],
        }
        for passage in collection.passages(passage_ids)
    ]
    if json:
        emit({"passages": found})
        return
    screen = console()
    for entry in found:
        screen.print(entry["title"] or "(no title)", style="bold")
        screen.print(entry["text"])
        adapters = ", ".join(entry["recipes"]) or "none"
        screen.print(f"{entry['passage_id']}  adapters: {adapters}  from {entry['document_id']}\n", style="dim")


def _near(document_id: str) -> str:
    """Returns a path below the working directory without that directory; `rm` and `show` take it as well."""
    here = Path.cwd().as_posix().rstrip("/") + "/"
    return document_id.removeprefix(here)


def _document_ids(name: str, known: dict[str, DocumentRecord]) -> list[str]:
    """Returns the documents that a user means by an id, a path or a title: one, or the records of a corpus file.

    Raises:
        NotFoundError: none, or several documents of that title.
    """
    path = Path(name).expanduser().resolve().as_posix()
    for candidate in (name, path):
        if candidate in known:
            return [candidate]
    records = [found for found in known if found.startswith(f"{path}#")]
    if records:
        return records
    titled = [document.id for document in known.values() if document.title == name]
    if len(titled) == 1:
        return titled
    if titled:
        raise NotFoundError(f"{len(titled)} documents have the title {name!r}: name one by its id, {', '.join(titled)}")
    if len(known) > 20:
        raise NotFoundError(f"the collection holds no document {name!r}; `paramrag collection ls` lists them")
    raise NotFoundError(f"the collection holds no document {name!r}: {did_you_mean(name, known)}")
