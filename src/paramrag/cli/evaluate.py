"""`paramrag eval`: a file of questions through the modes, with intervals, logged sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import console, emit, percent, table
from .encode import show_estimate, show_report
from .outcome import PARTLY, resumable
from .progress import bars
from .session import choose_recipes, load_engine, open_collection, prepare_task

if TYPE_CHECKING:
    from ..evaluate import Estimate, Summary
    from ..evaluate.cell import Cell
    from ..store import Collection

_STEPS = "replace-last, replace-first, replace-all"


def run(
    directory: options.Directory,
    data: Annotated[
        Path, typer.Option(metavar="FILE", exists=True, help="Questions: our JSONL, FlashRAG, KILT, PRAG or BEIR.")
    ],
    modes: Annotated[str, typer.Option(metavar="A,B", help="Modes to ask in, with commas between.")] = "t-rag,pt-rag",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Directory of the run; makes it resumable and comparable.")
    ] = None,
    encode: Annotated[
        bool, typer.Option("--encode/--no-encode", help="First encode what is needed and has no adapter.")
    ] = False,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="How to ask, instead of as the file says, such as choices.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="A,B", help="What to measure.  [default: what the tasks call for]")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="NAME", help="Let a model grade too: openai:MODEL or local:MODEL.")
    ] = None,
    judge_url: Annotated[str | None, typer.Option(metavar="URL", help="Endpoint of an openai:MODEL judge.")] = None,
    judge_cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where verdicts are kept.  [default: RUN/judge.jsonl]")
    ] = None,
    oracle: Annotated[
        bool,
        typer.Option("--oracle", help="Give each question its gold passages instead of retrieved ones."),
    ] = False,
    role: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="With --oracle: its passages of this role, such as counterfactual."),
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="STEPS", help=f"Disturb the text: {_STEPS}.")] = None,
    adapters: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS", help=f"Disturb the adapters: {_STEPS}, shuffled, random, scaled(X), quantised(BITS)."
        ),
    ] = None,
    shuffled_text: Annotated[
        bool, typer.Option("--shuffled-text", help="Use adapters of the passages' words in random order.")
    ] = False,
    task_lora: Annotated[
        bool, typer.Option("--task-lora", help="Join the recipe's task adapter to every answer, as a control.")
    ] = False,
    top_k: options.TopK = 3,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    retriever: options.Retriever = "bm25",
    aggregator: options.Aggregator = "concat",
    weighting: options.Weighting = "evidence",
    max_new_tokens: options.MaxNewTokens = 32,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Measure modes on a file of questions.

    Every mean comes with its 95 % interval. A question that fails is counted, and scores as an empty answer.
    Conditions are steps with + between, applied in order: --adapters "shuffled+scaled(0.5)".
    """
    names = options.names_in(modes, "--modes")
    if role and not oracle:
        raise typer.BadParameter("chooses which passages --oracle gives; give both", param_hint="--role")
    from .. import evaluate
    from ..evaluate.cell import Cell, Setting
    from ..evaluate.controls import control_of

    collection = open_collection(directory)
    questions = evaluate.load_questions(data, limit, task)
    measured = evaluate.metrics_for(questions)
    if metrics is not None:
        measured = tuple(map(evaluate.metric, options.names_in(metrics, "--metrics")))
    about: dict[str, str] = {"data": data.stem} | ({"task": task} if task else {})
    if judge:
        from ..evaluate.judging import judge as judge_of

        cache = judge_cache or (out / "judge.jsonl" if out else None)
        measured += judge_of(judge, base_url=judge_url, cache=cache, device=device, dtype=dtype).metrics()
        about["judge"] = judge
    advice = "Nothing is lost; run the same command again to go on." if out else "Give --out to go on where it stopped."
    with resumable(advice):
        with bars(quiet=json) as progress:
            engine = load_engine(model, device, dtype, progress)
        recipes = choose_recipes(collection, engine, recipe, names)
        setting = Setting(
            recipes["static"],
            predicted=recipes.get("dynamic"),
            top_k=top_k,
            retriever=retriever,
            aggregator=aggregator,
            weighting=weighting,
            max_new_tokens=max_new_tokens,
            given=(role or "gold") if oracle else None,
            text=text,
            adapters=adapters,
            shuffled_text=shuffled_text,
            task_lora=task_lora,
            seed=seed,
        )
        control = control_of(collection) if shuffled_text else None
        cell = Cell(collection, engine, questions, setting, control=control)
        for name in names:
            cell.pipeline(name)  # settings that cannot work are refused before anything is paid
        if encode or shuffled_text:
            encode_needed(cell, names, control, quiet=json)
        with bars(quiet=json) as progress:
            prepare_task(engine, recipes, names, progress)
            summary = cell.run(names, out, metrics=measured, about=about, progress=progress)
    emit(summary.to_json()) if json else _show(summary, out)
    if any(found.failed for found in summary.modes.values()):
        raise typer.Exit(PARTLY)


def encode_needed(cell: Cell, modes: Sequence[str], control: Collection | None, *, quiet: bool) -> None:
    """Encodes the passages whose adapters the questions need and that have none; says first what it costs."""
    from ..evaluate.controls import encode_shuffled
    from ..modes import MODES
    from ..parameterize import StaticParameterizer

    with bars(quiet=quiet) as progress:
        wanted = cell.adapters_needed([mode for mode in modes if MODES[mode].parameterizer == "static"], progress)
    parameterizer = StaticParameterizer(cell.engine, cell.setting.recipe)
    target = control or cell.collection
    missing = set(wanted) - target.encoded(cell.engine.fingerprint, parameterizer.recipe.id)
    if not missing:
        return
    show_estimate(parameterizer.estimate(target, wanted), parameterizer.recipe.name, console(stderr=True))
    with bars(quiet=quiet) as progress:
        if control:
            report = encode_shuffled(parameterizer, cell.collection, control, wanted, progress=progress)
        else:
            report = parameterizer.encode(cell.collection, wanted, progress=progress)
    show_report(report, console(stderr=True))


def _show(summary: Summary, out: Path | None) -> None:
    shown = table("", *summary.modes, right=list(summary.modes))
    shown.add_row("questions", *(str(found.n) for found in summary.modes.values()))
    if any(found.failed for found in summary.modes.values()):
        shown.add_row("failed", *(str(found.failed) for found in summary.modes.values()))
    for name in dict.fromkeys(name for found in summary.modes.values() for name in found.metrics):
        shown.add_row(name, *(_cell(name, found.metrics.get(name)) for found in summary.modes.values()))
    screen = console()
    screen.print(shown)
    screen.print("mean [95 % interval]; scores in percent, answer_length in words", style="dim")
    if summary.retrieval.get("n"):
        found = ", ".join(f"{name} {percent(value)}" for name, value in summary.retrieval.items() if "@" in name)
        screen.print(f"retrieval: {found}, of {summary.retrieval['n']:.0f} with gold passages", style="dim")
    if out:
        screen.print(f"samples and summary: {out}", style="dim")


def _cell(name: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    scale = 1 if name == "answer_length" else 100
    return f"{scale * estimate.mean:.1f} [{scale * estimate.low:.1f}, {scale * estimate.high:.1f}]"
