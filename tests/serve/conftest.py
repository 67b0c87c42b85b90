"""A real server on a tiny model: uvicorn on a free port, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from paramrag import Collection, Engine
from paramrag.config import Augmentation, Recipe
from paramrag.corpus import cut
from paramrag.parameterize import task_adapter
from paramrag.serve import Settings, create_app
from paramrag.types import Adapter, AdapterKey, Document
from tiny import random_rows, tiny_base

RECIPE = Recipe(layers="1-3", rank=1, epochs=2, augmentation=Augmentation(augmenter="rules", questions=3))
PREDICTED = Recipe(name="predicted", layers="2-3", rank=1, checkpoint="0123")
RECIPES = {"static": RECIPE, "dynamic": PREDICTED}
TEXTS = {
    "tower": "The Zorbik Tower stands in Port Quell. Ottilie Varn designed the Zorbik Tower in 1912.",
    "mill": "The mill at Orrin was built by Teska Varn in 1871. It grinds barley for the valley of Orrin.",
    "ferry": "The ferry of Brask sails from Port Quell on Mondays. Captain Ilse Dorn steers the ferry of Brask.",
}
ADMIN, READER = "admin-key-1", "reader-key-1"


@dataclass
class Running:
    """A server and what it serves."""

    url: str
    engine: Engine
    collection: Collection
    server: uvicorn.Server
    thread: threading.Thread

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


Start = Callable[..., Any]


def filled(directory: Path, engine: Engine) -> Collection:
    """Three documents with random adapters, as if trained and as if predicted."""
    collection = Collection.open(directory)
    collection.add([Document(name, name, text, cut(text, title=name)) for name, text in TEXTS.items()])
    for shift, recipe in enumerate((RECIPE, PREDICTED)):
        layout = engine.layout(recipe)
        collection.put_recipe(recipe, engine.fingerprint, layout)
        collection.put_adapters(
            [
                Adapter(
                    AdapterKey(passage_id, engine.fingerprint, recipe.id),
                    random_rows(layout, 1, seed=number + 10 * shift, size=0.2)[0],
                    layout,
                )
                for number, passage_id in enumerate(collection.passage_ids())
            ]
        )
    return collection


@contextmanager
def running(directory: Path, settings: Settings | None = None, *, max_batch: int = 8) -> Iterator[Running]:
    """Runs a server for the time of a `with` block."""
    engine = Engine(tiny_base(), max_batch=max_batch, prefix_cache_bytes=1 << 20)
    collection = filled(directory, engine)
    for recipe in RECIPES.values():
        task_adapter(engine, recipe)  # or the server would not offer the late modes
    app = create_app(collection, engine, RECIPE, settings, predicted=PREDICTED)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=20))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Running(f"http://127.0.0.1:{port}", engine, collection, server, thread)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def wait_for(ready: Callable[[], Any], seconds: float = 60) -> None:
    """Waits until something is the case."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that everybody may use; tests leave its documents as they were."""
    with running(tmp_path_factory.mktemp("served") / "c") as started:
        yield started
