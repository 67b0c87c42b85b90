"""What the verbs of `paramrag analyze` share: their options, and what they work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..drawing import check_figure
from ..progress import bars
from ..session import choose_recipe, load_engine, open_collection

if TYPE_CHECKING:
    from ...config import Recipe
    from ...evaluate import Estimate, Question
    from ...infer import Engine
    from ...pipeline import Pipeline
    from ...store import Collection

Data = Annotated[
    Path, typer.Option(metavar="FILE", exists=True, help="Questions: our JSONL, FlashRAG, KILT, PRAG or BEIR.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")]
Modes = Annotated[str, typer.Option(metavar="A,B", help="Modes, with commas between.")]
Figure = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw the result: .png, .svg or .pdf; needs paramrag[report].")
]


@dataclass(frozen=True)
class Session:
    """What the verbs that ask questions work with."""

    collection: Collection
    engine: Engine
    recipe: Recipe
    questions: Sequence[Question]
    settings: Mapping[str, Any]

    def pipeline(self, mode: str, recipe: Recipe | None = None) -> Pipeline:
        """Returns a mode with the settings of the command, under its recipe or another."""
        from ...pipeline import Pipeline

        return Pipeline(self.collection, self.engine, mode, recipe=recipe or self.recipe, **self.settings)


def open_session(
    directory: Path,
    data: Path,
    limit: int | None,
    figure: Path | None,
    recipe: str | None,
    model: str,
    device: str,
    dtype: str | None,
    quiet: bool,
    settings: Mapping[str, Any],
) -> Session:
    """Opens everything a verb needs; `settings` are what pipelines are made with."""
    from ...evaluate import load_questions

    check_figure(figure)
    collection = open_collection(directory)
    questions = load_questions(data, limit)
    with bars(quiet=quiet) as progress:
        engine = load_engine(model, device, dtype, progress)
    return Session(collection, engine, choose_recipe(collection, engine, recipe), questions, settings)


def interval(estimate: Estimate, digits: int = 4) -> str:
    """Returns a mean with its interval: `0.1234 [0.1000, 0.1500]`."""
    return f"{estimate.mean:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"
