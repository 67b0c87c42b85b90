"""The command that is running, as another person could type it: written beside a result, so that it can be repeated."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

_WHERE_IT_GOES = ("json", "write", "figures", "dry_run")


def command_line(context: typer.Context) -> str:
    """Returns the command with the options that were given; paths by their names, places of output left out."""
    chain: list[Any] = []
    at: Any = context
    while at is not None:
        chain.append(at)
        at = at.parent
    verbs = [str(entry.info_name) for entry in reversed(chain[:-1])]
    given = [
        (parameter, context.params[str(parameter.name)])
        for parameter in context.command.params
        if parameter.name in context.params and parameter.name not in _WHERE_IT_GOES
        if str(getattr(context.get_parameter_source(str(parameter.name)), "name", "")) == "COMMANDLINE"
    ]
    arguments = [_told(value) for parameter, value in given if parameter.param_type_name == "argument"]
    options = [
        word
        for parameter, value in given
        if parameter.param_type_name == "option"
        for word in _option(max(parameter.opts, key=len), value)
    ]
    return shlex.join(["paramrag", *verbs, *arguments, *options])


def _option(name: str, value: Any) -> Iterator[str]:
    if value is True:
        yield name
        return
    for one in value if isinstance(value, (list, tuple)) else [value]:
        yield from (name, _told(one))


def _told(value: Any) -> str:
    return Path(value).name if isinstance(value, Path) else str(value)
