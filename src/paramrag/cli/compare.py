"""`paramrag compare`: is run B better than run A, by more than chance?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .console import console, emit, facts
from .options import Json
from .outcome import PARTLY, complain


def run(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="The --out directory of an evaluation.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another, or the same with two --mode.")],
    metric: Annotated[str, typer.Option(help="What to compare by.")] = "has_answer",
    mode: Annotated[
        list[str] | None, typer.Option(metavar="MODE", help="Once: of both runs. Twice: of A, then of B.")
    ] = None,
    fail_below: Annotated[
        float | None, typer.Option(metavar="X", help="Exit with 1 where B - A is less, such as -0.02.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare two runs on the questions they share.

    Shows the mean of B - A with its paired bootstrap interval and, for a metric of 0 or 1, the exact McNemar test.
    """
    modes: Sequence[str | None] = mode or (None,)
    if len(modes) > 2:
        raise typer.BadParameter(f"given {len(modes)} times; expected once or twice", param_hint="--mode")
    from .. import evaluate

    found = evaluate.compare(run_a, run_b, metric, modes[0], modes[-1])
    if json:
        emit(found.to_json())
    else:
        gain = found.difference
        rows = {
            "A": f"{found.mean_a:.4f}  {run_a} ({found.mode_a})",
            "B": f"{found.mean_b:.4f}  {run_b} ({found.mode_b})",
            "B - A": f"{gain.mean:+.4f}  [{gain.low:+.4f}, {gain.high:+.4f}] in 95 % of resamples",
            "questions": f"{gain.n:,} in common" + (f", {found.left_out:,} left out" if found.left_out else ""),
        }
        if found.mcnemar:
            only = f"only A right {found.mcnemar.only_a}, only B right {found.mcnemar.only_b}"
            rows["McNemar"] = f"p = {found.mcnemar.p:.3g} ({only})"
        if found.failed_a or found.failed_b:
            rows["failed"] = f"{found.failed_a} in A, {found.failed_b} in B; each scores as an empty answer"
        screen = console()
        screen.print(found.metric, style="bold")
        screen.print(facts(rows))
    if fail_below is not None and found.difference.mean < fail_below:
        complain(f"B - A is {found.difference.mean:+.4f}, less than {fail_below:+.4f}", label="failed")
        raise typer.Exit(PARTLY)
