"""Trains the adapters that the package ships, and writes them into it: `python -m paramrag.primer [writer] [task]`.

Needed only when the primer, or how it is learnt from, changes. Takes about half an hour on two cores.
`python -m paramrag.primer hypernet FOLDER` takes in what `paramrag dynamic train --out FOLDER` wrote.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from ..config import load_recipe
from ..infer import Engine
from ..parameterize import task, writing
from ..parameterize.hypernet import checkpoint
from ..parameterize.model_adapter import ship
from . import primer

MODEL = "smollm2-135m-instruct"


def main() -> None:
    """Trains what is named, or both."""
    wanted = sys.argv[1:] or ["writer", "task"]
    console = Console(stderr=True)
    if wanted[0] == "hypernet":
        if len(wanted) != 2:
            sys.exit("expected `hypernet FOLDER`, the folder that `paramrag dynamic train --out FOLDER` wrote")
        console.print(checkpoint.ship(Path(wanted[1]), Path(__file__).parent / "hypernets"))
        return
    engine, folder = Engine(MODEL), Path(__file__).parent / "adapters"
    folder.mkdir(exist_ok=True)
    with Progress(console=console) as bars:
        bar = bars.add_task("learn")

        def progress(_: str, done: int, total: int | None) -> None:
            bars.update(bar, completed=done, total=total)

        if "writer" in wanted:
            row = writing.train_writer(engine, writing.learnt_from(), progress)
            console.print(ship(engine, writing.RECIPE, f"writer-{writing.VERSION}", row, folder))
        if "task" in wanted:
            recipe = load_recipe("default").model_copy(update={"task": False})
            row = task.train_task(engine, recipe, primer(), progress)
            console.print(ship(engine, recipe, f"task-{task.VERSION}", row, folder))


if __name__ == "__main__":
    main()
