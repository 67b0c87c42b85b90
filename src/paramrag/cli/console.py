"""What the terminal shows: tables without frames, and numbers a person can read. Plain text where it is piped."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console(*, stderr: bool = False) -> Console:
    """Returns the console that writes to stdout, or stderr."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    file = stream if stream.isatty() else cast(TextIO, _Trimmed(stream))
    return Console(file=file, highlight=False, emoji=False, markup=False)


class _Trimmed:
    """A stream that drops the blanks with which tables fill their lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(re.sub(r" +$", "", text, flags=re.MULTILINE))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def emit(value: Mapping[str, Any]) -> None:
    """Prints one JSON object."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def table(*columns: str, right: Sequence[str] = (), wide: Sequence[str] = ()) -> Table:
    """Returns an empty table with a line under its headings.

    Args:
        columns: the headings.
        right: headings of columns that hold numbers.
        wide: headings of columns that may break over lines; the others stay whole.
    """
    from rich.box import Box
    from rich.table import Table

    rule = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
    made = Table(box=rule, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1))
    for heading in columns:
        made.add_column(
            heading,
            justify="right" if heading in right else "left",
            no_wrap=bool(wide) and heading not in wide,
            overflow="fold",
        )
    return made


def facts(pairs: Mapping[str, str]) -> Table:
    """Returns names and values in two columns."""
    from rich.table import Table

    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs.items():
        made.add_row(name, value)
    return made


def size(count_bytes: float) -> str:
    """Returns bytes in decimal units: `3.4 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count_bytes < 1000:
            return f"{count_bytes:.0f} {unit}" if unit == "bytes" or count_bytes >= 100 else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1000
    return f"{count_bytes:.1f} TB"


def duration(seconds: float) -> str:
    """Returns a time span: `0.4 s`, `37 s`, `12 min`, `3 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def count(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 passage`, `1,200 passages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(share: float) -> str:
    """Returns a share in [0, 1] as a percentage without the sign: `64.6`."""
    return f"{100 * share:.1f}"
