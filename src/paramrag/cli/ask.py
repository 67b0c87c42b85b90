"""`paramrag ask`: one question, one answer, and where it came from; or the same question in every mode."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NotFoundError
from . import options
from .console import console, count, emit, table
from .drawing import check_figure, draw_figure
from .explanation import show_explanation
from .outcome import PARTLY, complain
from .progress import bars
from .session import choose_recipes, has_predicted, load_engine, open_collection, prepare_task, without_unready

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..types import Answer, Query


def run(
    directory: options.Directory,
    question: Annotated[str, typer.Argument(help="The question.")],
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="vanilla, t-rag, p-rag or pt-rag; dyp-rag or dypt-rag; each but the first also with -late.  "
            "[default: pt-rag-late; pt-rag with --stream or --explain, or where the model has no task adapter yet]",
        ),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Ask in every mode and show them side by side.")] = False,
    top_k: options.TopK = 3,
    text_k: Annotated[int | None, typer.Option(min=0, help="Passages in the prompt, instead of the mode's.")] = None,
    adapter_k: Annotated[
        int | None, typer.Option(min=0, help="Adapters in the weights, instead of the mode's.")
    ] = None,
    recipe: options.RecipeName = None,
    model: options.Model = options.DEFAULT_MODEL,
    retriever: options.Retriever = "bm25",
    aggregator: options.Aggregator = "concat",
    weighting: options.Weighting = "evidence",
    max_new_tokens: options.MaxNewTokens = 32,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the most likely token; above, samples.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Probability mass to sample from.")] = 1.0,
    seed: options.Seed = 0,
    choices: Annotated[
        str | None, typer.Option(metavar="A,B", help="The only answers allowed, with commas between.")
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Ends the answer; may be repeated.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show which adapters and passages moved each token of the answer.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the explanation: .png, .svg or .pdf.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Show the answer as it grows, alone.")] = False,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Ask a question.

    A mode says where the retrieved passages go: nowhere (vanilla), into the prompt (t-rag), into the weights as
    adapters (p-rag), or both (pt-rag). In t-rag-late every passage answers by itself, in p-rag-late every adapter, in
    pt-rag-late every passage and the adapters, and the surest answer is given. In dyp-rag, dypt-rag and their late
    forms the adapters are those that a hypernetwork predicted.
    """
    if stream and (json or compare):
        raise typer.BadParameter(
            "an answer that grows is text alone; leave out --json or --compare", param_hint="--stream"
        )
    if compare and not (text_k is None and adapter_k is None):
        raise typer.BadParameter(
            "it shows the modes as they are; leave out --text-k and --adapter-k", param_hint="--compare"
        )
    if explain and (stream or compare):
        raise typer.BadParameter("it explains one answer; leave out --stream and --compare", param_hint="--explain")
    if figure and not explain:
        raise typer.BadParameter("it draws the explanation; add --explain", param_hint="--figure")
    check_figure(figure)
    from ..modes import MODES, modes_with
    from ..parameterize import task_ready
    from ..pipeline import Pipeline
    from ..types import Query

    asked = Query(question, choices=tuple(options.names_in(choices, "--choices")) if choices else ())
    collection = open_collection(directory)
    with bars(quiet=json) as progress:
        engine = load_engine(model, device, dtype, progress)
    late = mode is None and not (stream or explain)
    mode = mode or ("pt-rag-late" if late else "pt-rag")
    modes = [mode]
    if compare:
        modes = list(modes_with("static", "dynamic") if has_predicted(collection, engine) else modes_with("static"))
    recipes = choose_recipes(collection, engine, recipe, modes)
    if compare:
        modes = without_unready(engine, recipes, modes)
    elif late and not task_ready(engine, recipes["static"]):
        modes = [mode := "pt-rag"]  # nobody asked for minutes of training
    with bars(quiet=json) as progress:
        prepare_task(engine, recipes, modes, progress)

    def pipeline(name: str) -> Pipeline:
        return Pipeline(
            collection,
            engine,
            name,
            top_k=top_k,
            text_k=text_k,
            adapter_k=adapter_k,
            recipe=recipes[MODES[name].parameterizer] if name in MODES else recipes["static"],
            retriever=retriever,
            aggregator=aggregator,
            weighting=weighting,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop=stop or (),
        )

    if compare:
        _compare({name: pipeline(name) for name in modes}, asked, json)
    elif stream:
        _stream(pipeline(mode), asked)
    elif explain:
        _explain(pipeline(mode), asked, figure, json)
    else:
        answer = pipeline(mode).ask(asked)
        emit(answer.to_json()) if json else _show(answer)


def _stream(pipeline: Pipeline, question: Query) -> None:
    started = time.perf_counter()
    first_ms: float | None = None
    for piece in filter(None, pipeline.stream(question)):
        if first_ms is None:
            first_ms = (time.perf_counter() - started) * 1000
        typer.echo(piece, nl=False)
    typer.echo()
    total_ms = (time.perf_counter() - started) * 1000
    begun = "the model said nothing" if first_ms is None else f"first words after {first_ms:,.0f} ms"
    typer.echo(f"{pipeline.mode.name}: {begun}, all after {total_ms:,.0f} ms", err=True)


def _compare(pipelines: dict[str, Pipeline], question: Query, json: bool) -> None:
    """Asks in every mode; one that lacks adapters is shown as such, and the others still answer."""
    answers: dict[str, Answer] = {}
    errors: dict[str, str] = {}
    pipelines["vanilla"].ask(question)  # the first answer of a process is slow; it must not count against a mode
    for name, pipeline in pipelines.items():
        try:
            answers[name] = pipeline.ask(question)
        except NotFoundError as error:
            errors[name] = str(error)
    if json:
        found: dict[str, Any] = {name: answer.to_json() for name, answer in answers.items()}
        emit({"question": question.text, "answers": found, "errors": errors})
    else:
        numbers = ("prompt tokens", "prefill ms", "total ms")
        shown = table("mode", "answer", *numbers, right=numbers, wide=("answer",))
        for name in pipelines:
            if name in answers:
                trace = answers[name].trace
                costs = (f"{trace.prompt_tokens:,}", f"{trace.prefill_ms:,.0f}", f"{trace.total_ms:,.0f}")
                shown.add_row(name, answers[name].text or "(nothing)", *costs)
            else:
                shown.add_row(name, "(adapters are missing)", "", "", "")
        console().print(shown)
    if errors:
        complain(next(iter(errors.values())))
        raise typer.Exit(PARTLY)


def _explain(pipeline: Pipeline, question: Query, figure: Path | None, json: bool) -> None:
    """Answers, then takes every source away in turn."""
    from ..analyze.explain import explain
    from ..analyze.figures import explanation_figure

    answer = pipeline.ask(question)
    found = explain(pipeline, question)
    draw_figure(figure, lambda: explanation_figure(found))
    if json:
        emit(answer.to_json() | {"explanation": found.to_json()})
    else:
        _show(answer)
        show_explanation(found)


def _show(answer: Answer) -> None:
    screen = console()
    screen.print()
    screen.print(answer.text or "(the model said nothing)", style="bold")
    screen.print()
    if answer.used:
        shown = table("", "source", "score", "in text", "weight", right=("", "score", "weight"), wide=("source",))
        for rank, entry in enumerate(answer.used, 1):
            weight = f"{entry.weight:.2f}" if entry.adapter else "-"
            name = entry.hit.passage.title or entry.hit.document_id
            shown.add_row(str(rank), name, f"{entry.hit.score:.2f}", "yes" if entry.in_text else "-", weight)
        screen.print(shown)
        screen.print()
    elif answer.mode != "vanilla":
        screen.print("no passage was found for this question\n", style="yellow")
    trace = answer.trace
    screen.print(f"{answer.mode}: {count(trace.prompt_tokens, 'token')} in, {trace.completion_tokens} out", style="dim")
    stages = {
        "retrieve": trace.retrieve_ms,
        "gather": trace.gather_ms,
        "prefill": trace.prefill_ms,
        "decode": trace.decode_ms,
        "total": trace.total_ms,
    }
    screen.print("ms: " + ", ".join(f"{name} {value:,.0f}" for name, value in stages.items()), style="dim")
