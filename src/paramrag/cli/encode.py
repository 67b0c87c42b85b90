"""`paramrag encode`: adapters for the passages that have none."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .console import console, count, duration, emit, facts, size
from .outcome import FAILED, PARTLY, resumable
from .progress import bars
from .session import choose_recipe, load_engine, open_collection

if TYPE_CHECKING:
    from rich.console import Console

    from ..augment import Augmenter, AugmentReport
    from ..config import Recipe
    from ..infer import Engine
    from ..parameterize import EncodeEstimate, EncodeReport
    from ..types import Progress

_LISTED = 10


class Method(StrEnum):
    """How adapters are made."""

    static = "static"
    dynamic = "dynamic"


class Storage(StrEnum):
    """Number formats of stored adapters."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"
    int4 = "int4"


def run(
    directory: options.Directory,
    recipe: options.RecipeName = None,
    method: Annotated[
        Method, typer.Option(help="Train adapters, or predict them with a hypernetwork.")
    ] = Method.static,
    hypernet: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Of --method dynamic: what `dynamic train` wrote.  [default: the one shipped]"
        ),
    ] = None,
    refine: Annotated[
        int, typer.Option(min=0, metavar="STEPS", help="Of --method dynamic: steps on items after the prediction.")
    ] = 0,
    model: options.Model = options.DEFAULT_MODEL,
    augmenter: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Instead of the recipe's: auto, rules, writer, model, openai:MODEL or items."
        ),
    ] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Endpoint of an openai:MODEL augmenter.")] = None,
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="IN OUT", help="Of a million tokens, to show what an openai:MODEL augmenter costs."),
    ] = None,
    storage: Annotated[Storage, typer.Option(help="How adapters are stored.")] = Storage.fp32,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that train.  [default: one a core on CPU, as memory allows]")
    ] = None,
    memory: Annotated[float, typer.Option(min=0.1, metavar="GIB", help="For training, beside the models.")] = 4.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Encode no more passages than this.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; store nothing.")] = False,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Make the adapters that are missing.

    First the training items of passages that have none, then their adapters. Interrupted, it goes on where it was
    when it is run again.
    """
    _check_method(method, hypernet, refine, recipe, dry_run)
    from ..parameterize import DynamicParameterizer, StaticParameterizer, load_hypernet
    from ..parameterize.hypernet import SHIPPED

    collection = open_collection(directory)
    with resumable(), bars(quiet=json) as progress:
        engine = load_engine(model, device, dtype, progress)
        predictor = load_hypernet(hypernet or SHIPPED, engine) if method is Method.dynamic else None
        chosen = predictor.recipe if predictor else choose_recipe(collection, engine, recipe, "static")
        if augmenter is not None:
            chosen = _augmented_by(augmenter, chosen)
        augment = _augmenter(chosen, engine, base_url, prices, progress) if refine or not predictor else None
        parameterizer: StaticParameterizer | DynamicParameterizer
        if predictor:
            predictor = replace(predictor, recipe=chosen)
            parameterizer = DynamicParameterizer(engine, predictor, refine=refine, augment=augment, storage=storage)
            chosen = parameterizer.recipe
        else:
            parameterizer = StaticParameterizer(
                engine, chosen, augment=augment, storage=storage, workers=workers, memory=int(memory * 2**30)
            )
        passage_ids = None
        if limit is not None:
            present = collection.encoded(engine.fingerprint, chosen.id)
            passage_ids = [key for key in collection.passage_ids() if key not in present][:limit]
        if dry_run and isinstance(parameterizer, StaticParameterizer):
            estimate = parameterizer.estimate(collection, passage_ids)
        else:
            report = parameterizer.encode(collection, passage_ids, progress=progress)
    about = {"recipe": chosen.name, "recipe_id": chosen.id, "model": model, "storage": storage.value}
    if dry_run:
        emit(about | estimate_json(estimate)) if json else show_estimate(estimate, chosen.name, console())
        return
    if json:
        failed = [{"passage_id": entry.passage_id, "reason": entry.reason} for entry in report.failed]
        done = {"encoded": report.encoded, "present": report.present, "failed": failed}
        made = augment.report.to_json() if augment else None
        emit(about | done | {"items": report.items, "seconds": round(report.seconds, 2), "augmentation": made})
    else:
        if augment and augment.report.passages:
            show_yield(augment.report, console())
        show_report(report, console())
        if report.encoded:
            mode = " --mode dypt-rag-late" if method is Method.dynamic else ""
            typer.echo(f'next: paramrag ask {directory} "your question"{mode}')
    if report.failed:
        raise typer.Exit(PARTLY if report.encoded or report.present else FAILED)


def _check_method(method: Method, hypernet: Path | None, refine: int, recipe: str | None, dry_run: bool) -> None:
    """Refuses options that do not go together."""
    if method is Method.static and (hypernet or refine):
        raise typer.BadParameter("belongs to --method dynamic; add that", param_hint="--hypernet, --refine")
    if method is Method.dynamic and recipe:
        raise typer.BadParameter("the hypernetwork has its own recipe; leave it out", param_hint="--recipe")
    if method is Method.dynamic and dry_run:
        raise typer.BadParameter("predicting is quick; there is nothing to estimate", param_hint="--dry-run")


def _augmented_by(augmenter: str, recipe: Recipe) -> Recipe:
    """Returns the recipe with another augmenter: another recipe, under another name."""
    if augmenter == recipe.augmentation.augmenter:
        return recipe
    settings = recipe.augmentation.model_copy(update={"augmenter": augmenter})
    return recipe.model_copy(update={"name": f"{recipe.name}-{augmenter}", "augmentation": settings})


def _augmenter(
    recipe: Recipe,
    engine: Engine,
    base_url: str | None,
    prices: tuple[float, float] | None,
    progress: Progress | None,
) -> Augmenter | None:
    """Returns what makes training items; None where the recipe takes those that are in the collection."""
    from ..augment import augmenter

    settings = recipe.augmentation
    if settings.augmenter == "items":
        return None
    return augmenter(
        settings.augmenter,
        engine=engine,
        base_url=base_url,
        questions=settings.questions,
        rewrites=settings.rewrites,
        seed=recipe.seed,
        prices=prices,
        progress=progress,
    )


def show_estimate(estimate: EncodeEstimate, recipe: str, screen: Console) -> None:
    """Prints what encoding would cost."""
    rows = {
        "to encode": f"{count(estimate.passages, 'passage')} ({estimate.present:,} have an adapter already)",
        "recipe": recipe,
        "training": f"about {duration(estimate.seconds)} on this machine, timed on a few passages",
        "tokens": f"{estimate.tokens:,} in one pass over the items",
        "size": size(estimate.bytes),
    }
    if estimate.unaugmented:
        rows["items"] = f"{count(estimate.unaugmented, 'passage')} without training items; making them comes on top"
    screen.print(facts(rows))


def show_report(report: EncodeReport, screen: Console) -> None:
    """Prints what encoding did, and the passages it could not encode."""
    each = f" ({duration(report.seconds / report.encoded)} each)" if report.encoded > 1 else ""
    screen.print(
        f"made {count(report.encoded, 'adapter')} in {duration(report.seconds)}{each}; "
        f"{report.present:,} were there already"
    )
    if report.failed:
        typer.secho(f"no adapter for {count(len(report.failed), 'passage')}:", fg="yellow", err=True)
    for entry in report.failed[:_LISTED]:
        typer.echo(f"  {entry.passage_id}: {entry.reason}", err=True)
    if len(report.failed) > _LISTED:
        typer.echo(f"  and {len(report.failed) - _LISTED} more", err=True)


def show_yield(report: AugmentReport, screen: Console) -> None:
    """Prints how many training items came of how many proposed, and what they cost."""
    kept = sum(report.kept.values())
    line = f"made {count(kept, 'training item')} for {count(report.passages, 'passage')}"
    if report.rejected:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in report.rejected.most_common(4))
        line += f"; left out as not valid: {reasons}"
    if report.topped_up:
        line += f"; {report.topped_up:,} of them by the rules, where too few were valid"
    screen.print(line)
    if report.completion_tokens:
        cost = "" if report.cost is None else f", cost {report.cost:.4f}"
        screen.print(f"{report.prompt_tokens:,} tokens read and {report.completion_tokens:,} written{cost}")
    for passage_id, reason in report.failed[:_LISTED]:
        typer.echo(f"  {passage_id}: {reason}", err=True)


def estimate_json(estimate: EncodeEstimate) -> dict[str, Any]:
    """Returns an estimate as JSON values."""
    return {
        "passages": estimate.passages,
        "present": estimate.present,
        "unaugmented": estimate.unaugmented,
        "seconds": round(estimate.seconds, 1),
        "bytes": estimate.bytes,
        "tokens": estimate.tokens,
    }
