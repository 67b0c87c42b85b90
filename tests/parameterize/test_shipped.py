"""The hypernetwork that comes with the package, on the bundled model: it is there, and knows what it never saw."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from paramrag import Collection, Engine, Passage, Pipeline
from paramrag.models import load_base
from paramrag.parameterize import DynamicParameterizer
from paramrag.parameterize.hypernet.spelling import Spelling
from paramrag.parameterize.invented import invented

PEOPLE = {
    "Orla Wexcombe": ("beekeeper", "Hanno Pryde"),
    "Tibald Munro": ("glazier", "Senka Ardley"),
    "Yesenia Flood": ("locksmith", "Corwin Babbage"),
}


def text(name: str, occupation: str, friend: str) -> str:
    friends = f"## Friends\nThe friend of {name} is {friend}."
    return f"# {name}\n\n{friends}\n\n## Attributes\nThe occupation of {name} is {occupation}."


@pytest.mark.model
def test_answers_can_be_said_in_their_own_spelling() -> None:
    """Most begin with a token that the passage does not hold; nearly all can be put together from the choices."""
    tokenizer = load_base("smollm2-135m-instruct").tokenizer
    spelling = Spelling(tokenizer)
    held, begun, whole = [], [], []
    for passage, items in islice(invented(5), 60):
        ids = tokenizer(f"{passage.title}\n{passage.text}", add_special_tokens=False)["input_ids"]
        first, following = spelling.choices(ids)
        follows = set(zip(following.before, following.tokens, strict=True))
        for answer in sorted({item.answer for item in items}):
            tokens = tokenizer(answer, add_special_tokens=False)["input_ids"]
            held.append(tokens[0] in ids)
            begun.append(tokens[0] in first.tokens)
            whole.append(begun[-1] and set(pairwise(tokens)) <= follows)
    assert np.mean(held) < 0.3
    assert np.mean(begun) > 0.95
    assert np.mean(whole) > 0.9


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
