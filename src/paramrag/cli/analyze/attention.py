"""`paramrag analyze attention`: where the model looks, with the injection and without."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import options
from ..console import console, emit, table
from ..drawing import draw_figure
from ..progress import bars
from .asking import Data, Figure, Limit, interval, open_session


def attention(
    directory: options.Directory,
    data: Data,
    mode: Annotated[str, typer.Option(help="pt-rag, or t-rag to see the base model alone.")] = "pt-rag",
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
    """See whether the injection turns attention to the passage that answers, wherever that stands."""
    asking = {
        "top_k": top_k,
        "retriever": retriever,
        "aggregator": aggregator,
        "weighting": weighting,
        "max_new_tokens": max_new_tokens,
    }
    session = open_session(directory, data, limit, figure, recipe, model, device, dtype, json, asking)
    from ...analyze.attention import attention as measure
    from ...analyze.figures import attention_figure

    with bars(quiet=json) as progress:
        found = measure(session.pipeline(mode), session.questions, progress=progress)
    draw_figure(figure, lambda: attention_figure(found))
    if json:
        emit(found.to_json())
        return
    means = ("of attention", "of that on passages", "log-probability", "HasAnswer")
    shown = table("gold passage", "", *means, wide=means)
    for order, rows in found.orders.items():
        for name, gaze in rows.items():
            estimates = (gaze.gold_mass.mean(), gaze.gold_share.mean(), gaze.log_prob, gaze.has_answer)
            shown.add_row(order, name, *(interval(estimate, 3) for estimate in estimates))
    screen = console()
    screen.print(shown)
    screen.print(
        f"mean over layers [95 % interval] over {found.n} questions, {found.left_out} left out; {found.passages} "
        "passages; log-probability of the gold answer in nats per token",
        style="dim",
    )
