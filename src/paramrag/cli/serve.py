"""`paramrag serve`: the collection behind the OpenAI API."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from . import options
from .progress import bars
from .session import choose_recipe, has_predicted, open_collection, without_unready

if TYPE_CHECKING:
    from ..config import Parameterizer, Recipe
    from ..parameterize.hypernet import Predictor


def run(
    directory: options.Directory,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    model: options.Model = options.DEFAULT_MODEL,
    recipe: options.RecipeName = None,
    hypernet: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Hypernetwork of modes dyp-rag and dypt-rag, or `shipped`; new documents get its adapters too.",
        ),
    ] = None,
    top_k: options.TopK = 3,
    text_k: Annotated[
        int | None, typer.Option(min=0, help="Passages in the prompt in modes with text.  [default: all]")
    ] = None,
    retriever: options.Retriever = "bm25",
    aggregator: options.Aggregator = "concat",
    weighting: options.Weighting = "evidence",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length of an answer if the request does not say.")] = 64,
    token_limit: Annotated[int, typer.Option(min=1, help="Most tokens a request may ask for.")] = 1024,
    max_batch: Annotated[int, typer.Option(min=1, help="Most answers computed at once.")] = 16,
    queue_limit: Annotated[int, typer.Option(min=1, help="Most requests under way; more are answered 429.")] = 64,
    timeout: Annotated[float, typer.Option(min=1, help="Most seconds a request may take.")] = 300.0,
    prefix_cache_mb: Annotated[
        int, typer.Option("--prefix-cache-mb", min=0, help="Memory for prompts that later ones begin with.")
    ] = 512,
    api_key: Annotated[
        list[str] | None,
        typer.Option(envvar="PARAMRAG_API_KEYS", help="Key for asking; may be repeated.", show_default=False),
    ] = None,
    admin_key: Annotated[
        list[str] | None,
        typer.Option(envvar="PARAMRAG_ADMIN_KEYS", help="Key for changing documents; may be repeated."),
    ] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let other machines ask and change documents without a key.")
    ] = False,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
) -> None:
    """Answer over the OpenAI API, with a page to try it.

    The page is at http://HOST:PORT/, the API's base_url is http://HOST:PORT/v1. Ctrl-C stops the server, which first
    finishes the answers that are under way.
    """
    if find_spec("fastapi") is None or find_spec("uvicorn") is None or find_spec("prometheus_client") is None:
        raise ConfigError("serving needs packages that are not installed: pip install 'paramrag[serve]'")
    from ..infer import Engine
    from ..models import load_base
    from ..modes import modes_with
    from ..parameterize import load_hypernet
    from ..serve import Settings, serve

    settings = Settings(
        top_k=top_k,
        text_k=text_k,
        retriever=retriever,
        aggregator=aggregator,
        weighting=weighting,
        max_new_tokens=max_new_tokens,
        token_limit=token_limit,
        queue_limit=queue_limit,
        timeout_s=timeout,
        api_keys=tuple(api_key or ()),
        admin_keys=tuple(admin_key or ()),
    )
    collection = open_collection(directory)
    with bars() as progress:
        base = load_base(model, device=device, dtype=dtype, progress=progress)
    engine = Engine(base, max_batch=max_batch, prefix_cache_bytes=prefix_cache_mb << 20)
    predicted: Predictor | Recipe | None = None
    if hypernet:
        predicted = load_hypernet(hypernet, engine)
    elif has_predicted(collection, engine):
        predicted = choose_recipe(collection, engine, None, "dynamic")
    chosen = choose_recipe(collection, engine, recipe, "static")
    recipes: dict[Parameterizer, Recipe] = {"static": chosen}
    if predicted:
        recipes["dynamic"] = predicted if isinstance(predicted, Recipe) else predicted.recipe
    without_unready(engine, recipes, modes_with(*recipes))  # says what the server cannot offer
    typer.echo(f"{directory} at http://{host}:{port} (Ctrl-C stops)", err=True)
    serve(collection, engine, chosen, settings, predicted=predicted, host=host, port=port, without_keys=without_keys)
