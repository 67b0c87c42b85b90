"""`paramrag analyze`: what an injected document does to the model, one verb per question asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .console import console, emit, table
from .progress import bars
from .session import choose_recipe, load_engine, open_collection

if TYPE_CHECKING:
    from ..analyze.curves import Curve
    from ..config import Recipe
    from ..evaluate import Estimate, Question
    from ..infer import Engine
    from ..pipeline import Pipeline
    from ..store import Collection

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="See what an injected document does to the model.")

Data = Annotated[
    Path, typer.Option(metavar="FILE", exists=True, help="Questions: our JSONL, FlashRAG, KILT, PRAG or BEIR.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")]
Modes = Annotated[str, typer.Option(metavar="A,B", help="Modes, with commas between.")]
Figure = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw the result: .png, .svg or .pdf; needs paramrag[report].")
]


@dataclass(frozen=True)
class _Session:
    """What the verbs that ask questions work with."""

    collection: Collection
    engine: Engine
    recipe: Recipe
    questions: Sequence[Question]
    settings: Mapping[str, Any]

    def pipeline(self, mode: str, recipe: Recipe | None = None) -> Pipeline:
        from ..pipeline import Pipeline

        return Pipeline(self.collection, self.engine, mode, recipe=recipe or self.recipe, **self.settings)


def _open(
    directory: Path,
    data: Path,
    limit: int | None,
    figure: Path | None,
    recipe: str | None,
    model: str,
    device: str,
    dtype: str | None,
    *,
    quiet: bool,
    **settings: Any,
) -> _Session:
    from ..evaluate import load_questions

    _check_figure(figure)
    collection = open_collection(directory)
    questions = load_questions(data, limit)
    with bars(quiet=quiet) as progress:
        engine = load_engine(model, device, dtype, progress)
    return _Session(collection, engine, choose_recipe(collection, engine, recipe), questions, settings)


@app.command("pks")
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
    weighting: options.Weighting = "score",
    max_new_tokens: options.MaxNewTokens = 32,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Measure parametric knowledge (PKS) by layer, and what the injection adds to it."""
    names = _names(modes, "--modes")
    session = _open(
        directory,
        data,
        limit,
        figure,
        recipe,
        model,
        device,
        dtype,
        quiet=json,
        top_k=top_k,
        retriever=retriever,
        aggregator=aggregator,
        weighting=weighting,
        max_new_tokens=max_new_tokens,
    )
    from ..analyze.curves import last_quarter
    from ..analyze.figures import knowledge_figure
    from ..analyze.knowledge import knowledge

    pipelines = {name: session.pipeline(name) for name in names}
    with bars(quiet=json) as progress:
        found = knowledge(pipelines, session.questions, response=response, ecs=ecs, progress=progress)
    _draw(figure, lambda: knowledge_figure(found))
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
    shown = table("", "", "all layers", f"layers {deep[0]} to {deep[-1]}", right=("all layers",))
    for group, curves in groups.items():
        for name, curve in curves.items():
            shown.add_row(group, name, _interval(curve.mean()), _interval(curve.mean(deep)))
    screen = console()
    screen.print(shown)
    screen.print(
        f"mean [95 % interval] over {found.n} questions, {found.left_out} left out; nats, the context score a cosine; "
        f"response: {response}",
        style="dim",
    )


def _names(text: str, option: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise typer.BadParameter("names nothing; expected some names with commas between", param_hint=option)
    return names


def _check_figure(path: Path | None) -> None:
    """Refuses what cannot be drawn before hours of work, not after."""
    if path is not None:
        from ..analyze.figures.style import check_format, require_matplotlib

        check_format(path)
        require_matplotlib()


def _draw(path: Path | None, make: Any) -> None:
    if path is not None:
        from ..analyze.figures import save

        typer.echo(f"figure: {save(make(), path)}", err=True)


def _interval(estimate: Estimate) -> str:
    return f"{estimate.mean:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"
