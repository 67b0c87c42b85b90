"""`paramrag analyze layers|override`: part of the injection, or more or less of it."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import options
from ..console import console, emit, percent, table
from ..drawing import draw_figure
from ..progress import bars
from ..session import choose_recipe
from .asking import Data, Figure, Limit, Modes, interval, open_session


def layers(
    directory: options.Directory,
    data: Data,
    band: Annotated[
        list[str] | None, typer.Option(metavar="LAYERS", help="As 15-29 or last-half; may be repeated. [quarters]")
    ] = None,
    trained: Annotated[
        list[str] | None, typer.Option(metavar="RECIPE", help="Also adapters of another recipe; may be repeated.")
    ] = None,
    mode: Annotated[str, typer.Option(help="p-rag or pt-rag.")] = "p-rag",
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
    """Let only some layers or modules of the injection in, and see what is left of its effect."""
    asking = {
        "top_k": top_k,
        "retriever": retriever,
        "aggregator": aggregator,
        "weighting": weighting,
        "max_new_tokens": max_new_tokens,
    }
    session = open_session(directory, data, limit, figure, recipe, model, device, dtype, json, asking)
    from ...analyze.figures import layers_figure
    from ...analyze.layers import Part, layer_effects, parts_of

    parts = parts_of(session.pipeline(mode), band or ())
    for name in trained or ():
        other = choose_recipe(session.collection, session.engine, name)
        parts.append(Part(f"trained as {other.name} ({other.layers})", session.pipeline(mode, other)))
    with bars(quiet=json) as progress:
        found = layer_effects(parts, session.questions, progress=progress)
    draw_figure(figure, lambda: layers_figure(found))
    if json:
        emit(found.to_json())
        return
    means = ("HasAnswer", "log-probability", "gain", "PKS")
    shown = table("injected", *means, wide=means)
    for name, effect in found.parts.items():
        estimates = (effect.has_answer, effect.log_prob, effect.gain, effect.pks.mean())
        shown.add_row(name, *(interval(estimate, 3) for estimate in estimates))
    screen = console()
    screen.print(shown)
    screen.print(
        f"mean [95 % interval] over {found.n} questions, {found.left_out} left out; log-probability of the gold answer "
        "in nats per token, its gain over nothing injected, and PKS on it in nats",
        style="dim",
    )


def override(
    directory: options.Directory,
    data: Data,
    modes: Modes = "p-rag,pt-rag",
    scales: Annotated[
        str, typer.Option(metavar="A,B", help="Scales of the injection.")
    ] = "0,0.25,0.5,0.75,1,1.25,1.5,1.75,2",
    limit: Limit = None,
    figure: Figure = None,
    top_k: options.TopK = 3,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    retriever: options.Retriever = "bm25",
    aggregator: options.Aggregator = "concat",
    weighting: options.Weighting = "evidence",
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """See how the injection's scale trades what the model has learnt for what the passages say."""
    names = options.names_in(modes, "--modes")
    try:
        chosen = [float(scale) for scale in options.names_in(scales, "--scales")]
    except ValueError as error:
        raise typer.BadParameter(f"{scales!r} holds something else than numbers", param_hint="--scales") from error
    asking = {"top_k": top_k, "retriever": retriever, "aggregator": aggregator, "weighting": weighting}
    session = open_session(directory, data, limit, figure, recipe, model, device, dtype, json, asking)
    from ...analyze.figures import override_figure
    from ...analyze.override import override as measure

    pipelines = {name: session.pipeline(name) for name in names}
    with bars(quiet=json) as progress:
        found = measure(pipelines, session.questions, scales=chosen, progress=progress)
    draw_figure(figure, lambda: override_figure(found))
    if json:
        emit(found.to_json())
        return
    means = ("counterfactual", "original")
    shown = table("mode", "scale", *means, "preferred %", right=("scale", "preferred %"), wide=means)
    for name, entry in found.modes.items():
        columns = (entry.estimates(field) for field in ("counterfactual", "original", "preferred"))
        for scale, one, other, share in zip(found.scales, *columns, strict=True):
            shown.add_row(name, f"{scale:g}", interval(one, 2), interval(other, 2), percent(share.mean))
    screen = console()
    screen.print(shown)
    screen.print(
        f"mean log-probability in nats per token [95 % interval] over {found.n} questions, {found.left_out} left out; "
        "preferred: the whole counterfactual answer is the likelier one",
        style="dim",
    )
