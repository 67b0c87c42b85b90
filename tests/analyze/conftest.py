"""A small collection of three documents, each of two passages, with random adapters, and questions about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paramrag import Collection, Engine, Pipeline
from paramrag.config import Recipe
from paramrag.evaluate.questions import JudgedPassage, Question
from paramrag.types import Adapter, AdapterKey, Document, Passage
from tiny import random_rows, tiny_base

RECIPE = Recipe(layers="1-3", seed=3)
NAMES = ("Orrin", "Lomund", "Brenholt")


def _document(name: str, number: int) -> Document:
    texts = (
        f"The mill of {name} was built by Teska Varn in {1870 + number} of red oak.",
        f"The river of {name} drives the mill at night, and its miller is Ilvar Hask {number}.",
    )
    passages = tuple(Passage(text, f"{name} {part}") for part, text in enumerate(texts, 1))
    return Document(name, name, f"print {name}", passages)


DOCUMENTS = [_document(name, number) for number, name in enumerate(NAMES)]


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine(tiny_base())


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Collection:
    opened = Collection.open(tmp_path_factory.mktemp("inside") / "c")
    opened.add(DOCUMENTS)
    layout = engine.layout(RECIPE)
    opened.put_recipe(RECIPE, engine.fingerprint, layout)
    opened.put_adapters(
        [
            Adapter(
                AdapterKey(passage_id, engine.fingerprint, RECIPE.id),
                random_rows(layout, 1, seed=int(passage_id[:6], 16), size=0.15)[0],
                layout,
            )
            for passage_id in opened.passage_ids()
        ]
    )
    return opened


@pytest.fixture(scope="session")
def pipeline(collection: Collection, engine: Engine) -> Callable[..., Pipeline]:
    def make(mode: str, **settings: object) -> Pipeline:
        return Pipeline(collection, engine, mode, **({"recipe": RECIPE, "max_new_tokens": 5} | settings))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def questions() -> list[Question]:
    return [
        Question(
            f"q{number}",
            f"When was the mill of {name} built?",
            (str(1870 + number),),
            passages=(JudgedPassage(DOCUMENTS[number].passages[0], True),),
            task="conflict",
            metadata={"counterfactual": (str(1870 + number),), "original": ("red oak", "oak")},
        )
        for number, name in enumerate(NAMES)
    ]


Pipelines = Callable[..., Pipeline]
