"""Long work as bars on stderr; nothing where that is no terminal, so that logs stay readable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..types import Progress
from .console import size

_BYTES = ("reading", "download")
_WORDS = {
    "add": "add documents",
    "index": "index",
    "reading": "read",
    "encode": "train adapters",
    "convert": "convert model",
    "download": "fetch model",
    "augment": "make training items",
    "predict": "predict adapters",
    "learn": "train a shared adapter, once",
    "read": "read passages",
    "direct": "train, first phase",
    "exact": "train, second phase",
}


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Progress | None]:
    """Yields what library functions take as `progress`; None where nobody watches.

    One bar per stage, gone when the work is done: what was done stands in the result.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    shown = Bars(
        SpinnerColumn(),
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[state]:>14}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def advance(stage: str, done: int, total: int | None) -> None:
        name = size if stage in _BYTES else "{:,}".format
        state = name(done) if total is None else f"{name(done)}/{name(total)}"
        if stage not in tasks:
            tasks[stage] = shown.add_task(_WORDS.get(stage, stage), total=total, state=state)
        shown.update(tasks[stage], completed=done, total=total, state=state)

    with shown:
        yield advance
