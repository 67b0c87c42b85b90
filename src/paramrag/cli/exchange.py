"""`paramrag export` and `paramrag import`: adapters for PEFT and servers, collections as one file."""

from __future__ import annotations

import json as json_format
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CollectionError, ConfigError, MismatchError
from . import options
from .console import count, emit, size
from .outcome import complain
from .session import open_collection, warn_of_foreign_recipes

if TYPE_CHECKING:
    from ..store import Collection, RecipeRecord


class Server(StrEnum):
    """Who will load the adapter."""

    vllm = "vllm"
    llama_cpp = "llama.cpp"


def export(
    directory: options.Directory,
    to: Annotated[Path, typer.Option(metavar="OUT", help="New directory of the adapter, or new file (.tar, .gguf).")],
    passage: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Passage whose adapter to write; several are summed into one."),
    ] = None,
    for_: Annotated[
        Server | None, typer.Option("--for", help="vllm: pad the rank to one it allows; llama.cpp: write a .gguf file.")
    ] = None,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    json: options.Json = False,
) -> None:
    """Write adapters as PEFT does, or a collection as one file.

    With --passage: a directory that PEFT, vLLM and SGLang load, or a file for llama.cpp. Without: the whole collection.
    """
    collection = open_collection(directory)
    if passage:
        _export_adapter(collection, passage, to, for_, recipe, model)
    else:
        if for_ is not None:
            raise typer.BadParameter("servers are about adapters; name some with --passage", param_hint="--for")
        from ..store.archive import export_collection

        export_collection(collection, to)
    if json:
        emit({"path": str(to), "passages": passage or len(collection.passage_ids())})
    else:
        files = [file for file in to.rglob("*") if file.is_file()] if to.is_dir() else [to]
        written = size(sum(file.stat().st_size for file in files))
        what = "adapter of " + count(len(passage), "passage") if passage else "collection"
        typer.echo(f"{what} written to {to} ({written})")


def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", exists=True, help="What `export` wrote.")],
    directory: options.Directory,
    passage: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose adapter a PEFT directory is, if it does not say.")
    ] = None,
    recipe: options.RecipeName = None,
    json: options.Json = False,
) -> None:
    """Read what `export` wrote.

    A collection's file goes into a new directory, a PEFT directory into an existing collection.
    """
    if source.is_dir():
        key = _import_adapter(open_collection(directory), source, passage, recipe)
        emit({"path": str(directory), "adapter": key}) if json else typer.echo(f"adapter of passage {key} stored")
        return
    from ..store.archive import import_collection

    collection = import_collection(source, directory)
    passages = len(collection.passage_ids())
    if json:
        emit({"path": str(directory), "passages": passages})
    else:
        typer.echo(f"collection with {count(passages, 'passage')} in {directory}")


def _export_adapter(
    collection: Collection, passage_ids: list[str], to: Path, server: Server | None, recipe: str | None, model: str
) -> None:
    from ..models import bundled_models, gguf_architecture
    from ..store.gguf import export_gguf
    from ..store.peft import export_peft

    record = _record(collection, recipe)
    folders = {entry.name: str(entry.path) for entry in bundled_models()}
    adapters = [collection.adapter(key, base=record.base, recipe=record.recipe.id) for key in passage_ids]
    if server is Server.llama_cpp:
        export_gguf(adapters, to, architecture=gguf_architecture(model))
    else:
        export_peft(
            adapters,
            to,
            base_name=folders.get(model, model),
            activation=record.recipe.activation,
            for_vllm=server is Server.vllm,
        )
    if record.recipe.activation != "full":
        complain(
            f"recipe {record.recipe.name!r} trains for activation {record.recipe.activation!r}; PEFT, vLLM, SGLang and "
            "llama.cpp apply an adapter to every token, so answers may differ from those here",
            label="note",
        )


def _import_adapter(collection: Collection, source: Path, passage: str | None, recipe: str | None) -> str:
    from ..store.peft import import_peft
    from ..types import Adapter, AdapterKey

    inside, recipe_id, base = _said(source)
    if passage is None and len(inside) != 1:
        raise ConfigError(
            f"{source} holds the sum of {len(inside)} adapters; expected one passage's: say whose with --passage"
            if inside
            else f"{source} does not say which passage it is of; give --passage"
        )
    passage_id = passage or inside[0]
    record = _record(collection, recipe or recipe_id)
    if base not in (None, record.base):
        raise MismatchError(
            f"{source} was made for base model {base}, recipe {record.recipe.name!r} of the collection is for "
            f"{record.base}: expected the same; choose another with --recipe"
        )
    row = import_peft(source, record.layout)
    adapter = Adapter(AdapterKey(passage_id, record.base, record.recipe.id), row, record.layout)
    collection.put_adapters([adapter])
    return passage_id


def _said(source: Path) -> tuple[list[str], str | None, str | None]:
    """Returns what a PEFT directory of ours says of itself: passages, recipe id, base; nothing for one of others."""
    file = source / "paramrag.json"
    if not file.is_file():
        return [], None, None
    try:
        said = json_format.loads(file.read_text(encoding="utf-8"))
        return [entry["passage_id"] for entry in said["adapters"]], said["recipe"], said["base"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CollectionError(
            f"{file} cannot be read: {error!r}; export the adapter again, or remove the file and give --passage"
        ) from error


def _record(collection: Collection, recipe: str | None) -> RecipeRecord:
    """Returns the recorded recipe of a name or id; the only one where none is given.

    Raises:
        ConfigError: none, or several fit.
    """
    warn_of_foreign_recipes(collection)
    records = collection.recipes()
    fitting = [r for r in records if recipe is None or r.recipe.name == recipe or r.recipe.id.startswith(recipe)]
    if len(fitting) == 1:
        return fitting[0]
    held = ", ".join(f"{r.recipe.name} ({r.recipe.id}, base {r.base})" for r in records) or "none"
    asked = "no recipe was named" if recipe is None else f"{len(fitting)} recipes are {recipe!r}"
    raise ConfigError(f"{asked}; the collection has adapters under {held}: choose one with --recipe, or encode first")
