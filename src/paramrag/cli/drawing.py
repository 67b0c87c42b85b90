"""Figures that verbs draw beside their result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer


def check_figure(path: Path | None) -> None:
    """Refuses what cannot be drawn before the work, not after."""
    if path is not None:
        from ..analyze.figures.style import check_format, require_matplotlib

        check_format(path)
        require_matplotlib()


def draw_figure(path: Path | None, make: Callable[[], Any]) -> None:
    """Draws a figure where one is wanted, and says on stderr where it is."""
    if path is not None:
        from ..analyze.figures import save

        typer.echo(f"figure: {save(make(), path)}", err=True)
