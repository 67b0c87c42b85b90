"""`paramrag dynamic`: hypernetworks, which predict adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import console, count, duration, emit, facts
from .outcome import PARTLY, complain, resumable
from .progress import bars
from .session import load_engine, open_collection

if TYPE_CHECKING:
    from ..config import Recipe
    from ..infer import Engine
    from ..parameterize.hypernet import TrainReport
    from ..types import Passage, Progress, TrainingItem

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train a hypernetwork, which predicts adapters.")


@app.callback()
def _dynamic() -> None:
    """Makes `train` a verb of its own although it is the only one."""


@app.command("train")
def train(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the hypernetwork goes; goes on if it is there.")],
    directories: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Collections to learn from, beside invented passages."),
    ] = None,
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="dynamic, dyprag-paper, or a YAML file with a hypernet section.")
    ] = "dynamic",
    start: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Go on from this hypernetwork, on the passages given now."),
    ] = None,
    passages: Annotated[
        int | None, typer.Option(min=0, help="Invented passages to learn from, instead of the recipe's number.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many passages of each collection.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read.  [default: one a core on CPU, as memory allows]")
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Train a hypernetwork; exits with 1 where it gives every passage nearly the same adapter.

    It learns from passages with their training items: invented ones, and those of collections, of which one in ten is
    held out. Interrupted, it goes on where it was when it is run again. Curves are in FOLDER/curves.jsonl.
    """
    from ..config import load_recipe
    from ..parameterize import HyperTraining, load_hypernet

    chosen = load_recipe(recipe)
    if passages is not None and chosen.hypernet:
        chosen = chosen.model_copy(update={"hypernet": chosen.hypernet.model_copy(update={"passages": passages})})
    with resumable("Nothing is lost; run the same command again to go on."), bars(quiet=json) as progress:
        engine = load_engine(model, device, dtype, progress)
        given = [pair for directory in directories or () for pair in _pairs(engine, chosen, directory, limit, progress)]
        predictor = load_hypernet(start, engine) if start else None
        report = HyperTraining(engine, chosen, out, given, start=predictor, workers=workers, progress=progress).run()
    alarms = report.collapse(engine.layout(chosen)).alarms
    if json:
        emit(report.to_json() | {"alarms": list(alarms)})
    else:
        _show(report)
    for alarm in alarms:
        complain(alarm, label="alarm")
    if alarms:
        raise typer.Exit(PARTLY)


def _pairs(
    engine: Engine, recipe: Recipe, directory: Path, limit: int | None, progress: Progress | None
) -> list[tuple[Passage, list[TrainingItem]]]:
    """Returns the passages of a collection with their items; those that have none get some."""
    from ..parameterize import StaticParameterizer

    collection = open_collection(directory)
    passages = collection.passages(collection.passage_ids()[:limit])
    items = StaticParameterizer(engine, recipe).items(collection, passages)
    if progress:
        progress("augment", len(passages), len(passages))
    return [(passage, items[passage.id]) for passage in passages if items[passage.id]]


def _show(report: TrainReport) -> None:
    measured = report.measured
    console().print(
        facts(
            {
                "hypernetwork": f"{report.folder} ({report.parameters / 1e6:.1f} million numbers)",
                "trained": f"on {count(report.passages, 'passage')} in {duration(report.seconds)}",
                "held out": f"{count(report.held_out, 'passage')}, {count(len(measured.said), 'item')}",
                "answers said": f"{100 * measured.said.mean():.1f} % under the own adapter, "
                f"{100 * measured.swapped_said.mean():.1f} % under another passage's",
                "loss": f"{measured.loss:.2f} under the own, {measured.swapped_loss:.2f} under another's, nats a token",
                "mean cosine": f"{measured.mean_cosine:.3f}",
                "effective rank": f"{measured.effective_rank:.1f} of {report.held_out}",
                "distance from mean": f"{measured.distance_from_mean:.3f} of an adapter's own size",
            }
        )
    )
    typer.echo(f"next: paramrag encode DIR --method dynamic --hypernet {report.folder}")
