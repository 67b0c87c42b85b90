"""The options that several verbs share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MODEL = "smollm2-135m-instruct"

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the collection.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Model = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="Base model: bundled name, folder, .gguf file or hub id."),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Shipped recipe, YAML file, or a name or id the collection knows.  [default: the collection's own]",
    ),
]
Device = Annotated[str, typer.Option("--device", help="torch device, such as cpu or cuda:0.")]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="fp32, bf16 or fp16.  [default: fp32, bf16 on CUDA]", show_default=False),
]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="Passages to retrieve.")]
Retriever = Annotated[str, typer.Option("--retriever", help="bm25, dense or hybrid.")]
Aggregator = Annotated[
    str,
    typer.Option(
        "--aggregator",
        metavar="NAME[:OPTION=VALUE]",
        help="How adapters are combined: concat, mean, svd, ties, dare, dare_ties or orthogonal; ties:density=0.2.",
    ),
]
Weighting = Annotated[
    str, typer.Option("--weighting", help="How much each adapter counts: evidence, score, uniform or top.")
]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Cap on the length of an answer.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]


def names_in(text: str, option: str) -> list[str]:
    """Returns the names between the commas, each once."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise typer.BadParameter("names nothing; expected some names with commas between", param_hint=option)
    return names
