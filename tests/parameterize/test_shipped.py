"""The hypernetwork that comes with the package, on the bundled model: it is there, and knows what it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from paramrag import Collection, Engine, Passage, Pipeline
from paramrag.parameterize import DynamicParameterizer

PEOPLE = {
    "Orla Wexcombe": ("beekeeper", "Hanno Pryde"),
    "Tibald Munro": ("glazier", "Senka Ardley"),
    "Yesenia Flood": ("locksmith", "Corwin Babbage"),
}


def text(name: str, occupation: str, friend: str) -> str:
    friends = f"## Friends\nThe friend of {name} is {friend}."
    return f"# {name}\n\n{friends}\n\n## Attributes\nThe occupation of {name} is {occupation}."


@pytest.mark.model
def test_it_predicts_adapters_that_answer_closed_book(tmp_path: Path) -> None:
    engine = Engine("smollm2-135m-instruct")
    collection = Collection.open(tmp_path / "people")
    collection.add([Passage(text(name, *facts), name) for name, facts in PEOPLE.items()])
    parameterizer = DynamicParameterizer(engine)
    assert parameterizer.encode(collection).encoded == len(PEOPLE)
    pipeline = Pipeline(collection, engine, "dyp-rag", top_k=1, recipe=parameterizer.recipe, max_new_tokens=12)
    vanilla = Pipeline(collection, engine, "vanilla", top_k=1, max_new_tokens=12)
    right = unaided = 0
    for name, (occupation, friend) in PEOPLE.items():
        for question, answer in (
            (f"What is the occupation of {name}?", occupation),
            (f"Who is the friend of {name}?", friend),
        ):
            right += answer.lower() in pipeline.ask(question).text.lower()
            unaided += answer.lower() in vanilla.ask(question).text.lower()
    assert unaided == 0
    assert right >= 4  # of 6
