"""`paramrag analyze pks`: parametric knowledge by layer, in every mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from .. import options
from ..console import console, emit, table
from ..drawing import draw_figure
from ..progress import bars
from .asking import Data, Figure, Limit, Modes, interval, open_session

if TYPE_CHECKING:
    from ...analyze.curves import Curve


def pks(
    directory: options.Directory,
    data: Data,
    modes: Modes = "vanilla,t-rag,p-rag,pt-rag",
    response: Annotated[
        str, typer.Option(help="What runs through the modes: own, gold, or one mode's answers in all of them.")
    ] = "own",
    ecs: Annotated[bool, typer.Option("--ecs", help="Also the external context score; takes twice as long.")] = False,
    limit: Limit = None,
    figure: Figure = None,
    top_k: options.TopK = 3,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    retriever: options.Retriever = "bm25",
    aggregator: options.Aggregator = "concat",
    weighting: options.Weighting = "evidence",
    max_new_tokens: options.MaxNewTokens = 32,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Measure parametric knowledge (PKS) by layer, and what the injection adds to it."""
    names = options.names_in(modes, "--modes")
    asking = {
        "top_k": top_k,
        "retriever": retriever,
        "aggregator": aggregator,
        "weighting": weighting,
        "max_new_tokens": max_new_tokens,
    }
    session = open_session(directory, data, limit, figure, recipe, model, device, dtype, json, asking)
    from ...analyze.curves import last_quarter
    from ...analyze.figures import knowledge_figure
    from ...analyze.knowledge import knowledge

    pipelines = {name: session.pipeline(name) for name in names}
    with bars(quiet=json) as progress:
        found = knowledge(pipelines, session.questions, response=response, ecs=ecs, progress=progress)
    draw_figure(figure, lambda: knowledge_figure(found))
    if json:
        emit(found.to_json())
        return
    deep = last_quarter(session.engine.base.layer_count)
    groups: dict[str, Mapping[str, Curve]] = {
        "PKS": found.pks,
        "PKS, difference": found.differences(),
        "changed by the injection": found.changed,
        "ReDeEP's code": found.redeep_compat,
        "external context score": found.ecs,
    }
    means = ("all layers", f"layers {deep[0]} to {deep[-1]}")
    shown = table("", "mode", *means, wide=("", *means))
    for group, curves in groups.items():
        for name, curve in curves.items():
            shown.add_row(group, name, interval(curve.mean()), interval(curve.mean(deep)))
    screen = console()
    screen.print(shown)
    screen.print(
        f"mean [95 % interval] over {found.n} questions, {found.left_out} left out; nats, the context score a cosine; "
        f"response: {response}",
        style="dim",
    )
