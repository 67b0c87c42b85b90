"""`paramrag analyze similarity|collapse`: adapters compared with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import options
from ..console import console, emit, facts, table
from ..drawing import check_figure, draw_figure
from ..outcome import PARTLY, complain
from ..progress import bars
from ..session import choose_recipe, load_engine, open_collection
from .asking import Figure, interval


def similarity(
    directory: options.Directory,
    limit: Annotated[int, typer.Option(min=2, help="At most so many adapters, those of the first documents.")] = 500,
    controls: Annotated[
        int,
        typer.Option(min=0, help="Train so many adapters again, with another seed and of shuffled text, to compare."),
    ] = 0,
    figure: Figure = None,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Compare adapters: are those of one document more alike?"""
    check_figure(figure)
    collection = open_collection(directory)
    with bars(quiet=json) as progress:
        engine = load_engine(model, device, dtype, progress)
    chosen = choose_recipe(collection, engine, recipe)
    from ...analyze.figures import similarity_figure
    from ...analyze.gathering import adapters_of, trained_controls
    from ...analyze.similarity import similarity as compare

    layout, rows, ids, documents = adapters_of(collection, engine, chosen, limit)
    trained = trained_controls(collection, engine, chosen, ids[:controls]) if controls else ()
    found = compare(layout, rows, documents, controls=trained, seed=seed)
    draw_figure(figure, lambda: similarity_figure(found))
    if json:
        emit(found.to_json())
        return
    means = ("one document", "two documents", "AUROC")
    shown = table("cosine of", *means, "Cohen's d", wide=means)
    for name, entry in found.separations.items():
        shown.add_row(
            {"energy": "whole updates"}.get(name, name),
            *(interval(estimate, 3) for estimate in (entry.relevant, entry.irrelevant, entry.auroc)),
            f"{entry.cohens_d.mean:.2f}",
        )
    for control in found.controls:
        shown.add_row(control.name, f"{control.values.mean():.3f}", "", "", "")
    screen = console()
    screen.print(shown)
    screen.print(
        f"mean [95 % interval over documents]; {len(documents)} adapters of {len(set(documents))} documents; "
        "paper_compat: flattened A and B, which a shared start makes alike",
        style="dim",
    )


def collapse(
    directory: options.Directory,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, help="Questions, for the swap test.")
    ] = None,
    limit: Annotated[int, typer.Option(min=2, help="At most so many adapters, and so many questions.")] = 500,
    figure: Figure = None,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Check that adapters are not all the same; exits with 1 where there is an alarm."""
    check_figure(figure)
    from ...evaluate import load_questions

    collection = open_collection(directory)
    questions = load_questions(data, limit) if data else []
    with bars(quiet=json) as progress:
        engine = load_engine(model, device, dtype, progress)
    chosen = choose_recipe(collection, engine, recipe)
    from ...analyze.collapse import collapse as measure
    from ...analyze.collapse import swap_test
    from ...analyze.figures import collapse_figure
    from ...analyze.gathering import adapters_of
    from ...modes import weights_alone
    from ...pipeline import Pipeline

    layout, rows, _, documents = adapters_of(collection, engine, chosen, limit)
    swap = (
        swap_test(Pipeline(collection, engine, weights_alone(chosen), recipe=chosen), questions, seed=seed)
        if questions
        else None
    )
    found = measure(layout, rows, documents, swap)
    draw_figure(figure, lambda: collapse_figure(found))
    if json:
        emit(found.to_json())
    else:
        lines = {
            "adapters": f"{found.n}",
            "mean cosine": f"{found.mean_cosine:.3f}",
            "effective rank": f"{found.effective_rank:.1f}",
            "distance from mean": f"{found.distance_from_mean.mean():.3f} of an adapter's own size",
            "AUROC": "no pairs of both kinds" if found.auroc is None else f"{found.auroc:.3f}",
        }
        if found.swap:
            lines["swap test"] = (
                f"HasAnswer {interval(found.swap.own, 3)} with the own adapter, {interval(found.swap.swapped, 3)} "
                f"with another document's; {found.swap.own.n} questions, {found.swap.left_out} left out"
            )
        console().print(facts(lines))
    for alarm in found.alarms:
        complain(alarm, label="alarm")
    if found.alarms:
        raise typer.Exit(PARTLY)
