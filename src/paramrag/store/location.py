"""The directory of a collection and its layout file, `collection.json`.

    {"format": "paramrag-collection", "version": 1, "created_by": "paramrag 0.1.0"}

The version changes when an older ParamRAG could not read what a newer one writes. The file is there before any
table is, so a directory either says that it is a collection or is none.
"""

from __future__ import annotations

import json
import os
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..errors import CollectionError, NotFoundError
from .journal import LOCK_NAME

FORMAT = "paramrag-collection"
VERSION = 1
LAYOUT_NAME = "collection.json"


def prepare(path: Path, *, create: bool) -> None:
    """Checks that a directory is a collection this version can read, and makes it one where it is empty or absent.

    Raises:
        NotFoundError: it does not exist, and `create` is false.
        CollectionError: it is a file, holds something else, has a newer layout, or cannot be made.
    """
    if (path / LAYOUT_NAME).is_file():
        _check(path / LAYOUT_NAME)
        return
    if path.exists() and not path.is_dir():
        raise CollectionError(f"{path} is a file; expected the directory of a collection")
    # The lock and a temporary layout file are what another process leaves that is creating the same collection now.
    foreign = [
        name for name in (os.listdir(path) if path.exists() else []) if not name.startswith((LOCK_NAME, ".new-"))
    ]
    if foreign and LAYOUT_NAME not in foreign:
        raise CollectionError(
            f"{path} is not a collection: it holds {sorted(foreign)[0]!r} but no {LAYOUT_NAME}; "
            "expected a collection, an empty directory or a new path"
        )
    if not create:
        raise NotFoundError(f"there is no collection at {path}; add documents to create it")
    try:
        path.mkdir(parents=True, exist_ok=True)
        _write(path / LAYOUT_NAME)
    except OSError as error:
        raise CollectionError(f"cannot create a collection at {path}: {error}") from error
    _check(path / LAYOUT_NAME)


def _write(path: Path) -> None:
    """Writes beside and renames: two processes that create at once write the same, and nobody sees half of it."""
    try:
        program = f"paramrag {version('paramrag')}"
    except PackageNotFoundError:  # run from a source tree that was never installed
        program = "paramrag"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "version": VERSION, "created_by": program}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _check(path: Path) -> None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found, number = data["format"], int(data["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise CollectionError(f"{path} is not a layout file of a collection: {error!r}") from error
    if found != FORMAT:
        raise CollectionError(f"{path} says format {found!r}; expected {FORMAT!r}: this is no ParamRAG collection")
    if number > VERSION:
        raise CollectionError(
            f"{path.parent} has layout version {number}; this ParamRAG reads up to {VERSION}: upgrade ParamRAG "
            f"(it was written by {data.get('created_by', 'an unknown version')})"
        )
