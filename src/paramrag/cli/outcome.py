"""How a command ends: exit codes, and errors as a few lines on stderr instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import ParamRAGError

PARTLY = 1
"""Exit code: something was done, something was not."""
FAILED = 2
"""Exit code: nothing was done."""
INTERRUPTED = 130
"""Exit code: stopped by Ctrl-C."""


class ReportingGroup(TyperGroup):
    """Runs a verb and turns errors of the family, and Ctrl-C, into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ParamRAGError as error:
            if ctx.params.get("debug"):
                raise
            complain(str(error))
            raise typer.Exit(FAILED) from error
        except KeyboardInterrupt as error:
            typer.echo("", err=True)
            typer.echo(f"Stopped. {error}".rstrip(), err=True)
            raise typer.Exit(INTERRUPTED) from error


def complain(message: str, *, label: str = "error") -> None:
    """Writes a message to stderr, in red where that is a terminal."""
    first, *rest = message.splitlines() or [""]
    typer.secho(f"{label}: {first}", fg="red", err=True)
    for line in rest:
        typer.secho(f"  {line}", fg="red", err=True)


@contextmanager
def resumable(advice: str = "Nothing is lost; run the same command again to go on.") -> Iterator[None]:
    """Says on Ctrl-C what became of the work inside."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(advice) from error
