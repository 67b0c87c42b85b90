"""From what the user names to the files to read: folders walked in order, every file once."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_JOINT = re.compile(r"_+|(?<=[^\W\d])-(?=[^\W\d])")  # between the words of a file name; a date keeps its hyphens


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read."""

    path: Path
    """As reached from what the user named."""
    id: str
    """Absolute path with links resolved, `/` between parts: the same from every working directory."""
    size_bytes: int
    """Its size when it was found."""


def find(paths: Iterable[str | Path], skip: Callable[[str, str], None]) -> Iterator[Source]:
    """Yields the regular files among `paths` and, in sorted order, below the folders among them.

    Hidden files and folders inside a folder are passed over, as are collections of ParamRAG and a file or folder
    reached a second time (by another name, or a link that leads upwards). `skip` is told (path, reason) of what cannot
    be read.
    """
    seen: set[str] = set()
    for path in paths:
        yield from _below(os.fspath(path), seen, skip)


def shown(path: str | Path) -> str:
    """Returns the path as text that can be printed and stored: bytes that are not UTF-8 appear as `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def title_of(path: Path) -> str:
    """Returns a title for a file that has none inside: its name, `zorbik-tower_2.txt` as `zorbik tower 2`."""
    return " ".join(_JOINT.sub(" ", shown(path.stem)).split()) or shown(path.name)


def _below(top: str, seen: set[str], skip: Callable[[str, str], None]) -> Iterator[Source]:
    waiting = [top]  # a stack, not recursion: folders may be nested deeper than Python's stack
    while waiting:
        path = waiting.pop()
        try:
            real = os.path.realpath(path)
            found = os.stat(path)
            if real in seen:
                continue
            if stat.S_ISDIR(found.st_mode):
                names = sorted(name for name in os.listdir(path) if not name.startswith("."))
                if "collection.json" in names and _is_collection(path):
                    if path == top:
                        skip(path, "a collection of ParamRAG, no documents; name the files it was made from")
                    continue
                waiting.extend(os.path.join(path, name) for name in reversed(names))
        except FileNotFoundError:
            skip(path, "a link that leads nowhere" if os.path.islink(path) else "no such file or folder")
            continue
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            skip(path, reason(error))
            continue
        seen.add(real)
        if stat.S_ISREG(found.st_mode):
            yield Source(Path(path), shown(Path(real).as_posix()), found.st_size)
        elif not stat.S_ISDIR(found.st_mode):
            skip(path, "not a regular file (a pipe, socket or device)")


def _is_collection(folder: str) -> bool:
    """Returns whether a folder is one that ParamRAG keeps: it may lie among the documents it was made from."""
    with open(os.path.join(folder, "collection.json"), "rb") as file:
        return b'"paramrag-collection"' in file.read(1024)


def reason(error: Exception) -> str:
    """Returns why the system refused a path, in its own words."""
    return str(getattr(error, "strerror", None) or error).lower()
