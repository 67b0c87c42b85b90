"""Streams the records of a JSON lines file: one line in memory at a time, each bad line named and passed over.

A file that is one JSON array, or one object over several lines, is read as well, whole.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CorpusError
from .decoding import decode, mark
from .records import Format, Record, detect

_HEAD = 1 << 16  # bytes in which a file shows what it is
_PIECE = 1 << 20  # bytes read at once of a line that is too long

Value = tuple[str, Any, int]  # `line 7`, the JSON value or the CorpusError in its place, bytes read so far


def read_records(
    path: Path, *, max_bytes: int, skip: Callable[[str], None], advance: Callable[[int], None]
) -> Iterator[tuple[str, Record]]:
    """Yields (name, record) for each document of a corpus file, in order; the name is its id, or else `line-7`.

    A record whose id came before is left out: without a word if it says the same (benchmark questions share passages),
    through `skip` if not. The ids of one file are kept in memory, its texts are not.

    Args:
        path: the file.
        max_bytes: longest accepted line; an array, or a file in UTF-16, must be no longer as a whole.
        skip: told the reason for each line left out.
        advance: told how many bytes have been read so far.

    Raises:
        CorpusError: if the file as a whole is not a corpus; the message is a reason without the file's name.
    """
    form: Format | None = None
    contents: dict[str, str] = {}
    empty, sound = True, True
    for place, value, done in _values(path, max_bytes):
        advance(done)
        empty = False
        if not isinstance(value, dict):
            wrong = value if isinstance(value, CorpusError) else f"a JSON {type(value).__name__}; expected an object"
            skip(f"{place}: {wrong}")
            sound = False
            continue
        form = form or detect(value)
        try:
            found = list(form.records(value))
        except CorpusError as error:
            skip(f"{place}: {error} ({form.name} format)")
            sound = False
            continue
        for record in found:
            name = record.id or place.replace(" ", "-")
            first = contents.get(name)
            if first is None:
                contents[name] = record.content
                yield name, record
            elif first != record.content:
                skip(f"{place}: id {name!r} was used before for another text; the first one stays")
    if empty:
        raise CorpusError("no text in it, only white space")
    if sound and not contents:
        raise CorpusError("no documents in it: the 'passages' of every record are empty")


def _values(path: Path, max_bytes: int) -> Iterator[Value]:
    with path.open("rb") as file:
        size = path.stat().st_size
        head = file.read(_HEAD)
        codec = mark(head)
        if codec is None and b"\0" in head:
            decode(head)  # raises the reason
        source: BinaryIO = file
        if codec and codec != "utf-8-sig":
            if size > max_bytes:
                raise CorpusError(f"{size:,} bytes of {codec.upper()}; convert it first: iconv -f {codec} -t UTF-8")
            source = io.BytesIO(decode(head + file.read()).encode())
        start = 3 if codec == "utf-8-sig" else 0
        source.seek(start)
        whole = _whole(source, size, max_bytes)
        if whole is None:
            source.seek(start)
            yield from _lines(source, max_bytes)
        else:
            for number, value in enumerate(whole, 1):
                yield f"record {number}", value, size


def _whole(source: BinaryIO, size: int, max_bytes: int) -> list[Any] | None:
    """Returns the values of a file that is one JSON text; None if it is JSON lines."""
    first = b"\n"
    while first and not first.strip():
        first = source.readline(max_bytes)
    value = _parsed(first)
    array = first.lstrip().startswith(b"[")
    if isinstance(value, dict) or not (array or first.lstrip().startswith(b"{")):
        return None
    if size > max_bytes:
        if array:
            raise CorpusError(
                f"a JSON array of {size:,} bytes; above {max_bytes:,} write one object per line: jq -c '.[]'"
            )
        return None
    source.seek(0)
    text = source.read().removeprefix(b"\xef\xbb\xbf")
    whole = _parsed(text)
    if isinstance(whole, CorpusError):
        if array and isinstance(value, CorpusError):
            raise whole
        return None
    return whole if isinstance(whole, list) else [whole]


def _lines(source: BinaryIO, max_bytes: int) -> Iterator[Value]:
    number = 0
    while line := source.readline(max_bytes + 1):
        number += 1
        if len(line) > max_bytes and not line.endswith(b"\n"):
            while (rest := source.readline(_PIECE)) and not rest.endswith(b"\n"):
                pass
            yield f"line {number}", CorpusError(f"longer than {max_bytes:,} bytes"), source.tell()
        elif line.strip():
            yield f"line {number}", _parsed(line.strip()), source.tell()


def _parsed(data: bytes) -> Any:
    """Returns the JSON value, or a CorpusError that says why there is none."""
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return CorpusError(f"not valid UTF-8 at byte {error.start}")
    except RecursionError:
        return CorpusError("JSON nested too deeply")
    except ValueError as error:
        return CorpusError(f"not valid JSON: {error}")
