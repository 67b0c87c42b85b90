from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from paramrag.augment import Rules, augmenter, validate
from paramrag.augment.model import LocalModel
from paramrag.augment.prompts import line_messages, read_lines
from paramrag.infer import Completion, Engine, Request
from paramrag.types import Passage

TOWER = Passage("The Zorbik Tower was designed by Ottilie Varn and opened in 1912 in Marl.", "Zorbik Tower")
RIVER = Passage("The Quill is a river of 90 kilometres in Vell. It was dammed in 1933 by Arno Bex.", "Quill")


class Writing(Engine):
    """An engine whose prompts are real and whose text is dictated: a random model writes no questions."""

    lines = (
        "Q: Who designed the Zorbik Tower? | A: Ottilie Varn\nQ: Where is it? | A: Marl\n"
        "Q: When did the Zorbik Tower open? | A: 1912\nQ: Who owns the Zorbik Tower? | A: Rembrandt"
    )

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        return [
            Completion(
                self._text(self.base.tokenizer.decode(one.prompt_ids)),
                (1, 2),
                "stop",
                len(one.prompt_ids),
                0,
                0.0,
                0.0,
                0.0,
            )
            for one in requests
        ]

    def _text(self, prompt: str) -> str:
        if "Question: Who designed" in prompt:
            return "Ottilie Varn designed it."
        if "Question:" in prompt:
            return "I do not know."
        if "Rewrite the passage" in prompt:
            return "In Marl stands the Zorbik Tower: Ottilie Varn designed it, and it opened in 1912."
        return self.lines if "Zorbik" in prompt else ""


@pytest.fixture(scope="module")
def writing(tiny_base: Any) -> Writing:
    return Writing(tiny_base)


def test_a_model_that_writes_nonsense_is_topped_up_by_rules(tiny_base: Any) -> None:
    engine = Engine(tiny_base, max_batch=4)
    make = LocalModel(engine, questions=4, rewrites=1, samples=2)
    made = make([TOWER, RIVER])
    assert [len([item for item in items if item.kind != "rewrite"]) for items in made] == [4, 4]
    for passage, items in zip((TOWER, RIVER), made, strict=True):
        assert validate(items, passage) == (items, [])
    assert make.report.topped_up == sum(map(len, made))
    assert make.report.prompt_tokens > 0
    assert made == LocalModel(engine, questions=4, rewrites=1, samples=2)([TOWER, RIVER])


def test_only_what_validates_and_survives_the_round_trip_is_kept(writing: Writing) -> None:
    make = LocalModel(writing, questions=6, samples=2, top_up=False)
    tower, river = make([TOWER, RIVER])
    assert [item.answer for item in tower] == ["Ottilie Varn"]
    assert river == []
    assert make.report.parsed == 8
    assert make.report.rejected == {
        "question does not name its subject": 2,
        "answer is not in the passage": 2,
        "duplicate": 2,
        "round trip gives another answer": 1,
    }
    without = LocalModel(writing, questions=6, samples=1, top_up=False, round_trip=False)
    assert [item.answer for item in without([TOWER])[0]] == ["Ottilie Varn", "1912"]
    assert without.id != make.id


def test_unchecked_everything_that_can_be_read_is_kept(writing: Writing) -> None:
    make = augmenter("model-unchecked", engine=writing, questions=6)
    items = make([TOWER])[0]
    assert len(items) == 6
    own = [item for item in items if item not in Rules(questions=6)([TOWER])[0]]
    assert validate(own, TOWER)[1], "nothing wrong was kept"
    checked = augmenter("model", engine=writing, questions=6)
    assert checked.id != make.id
    assert len(own) > len([item for item in checked([TOWER])[0] if item in own])
    assert make.report.rejected.total() == 0


def test_the_models_own_come_first_and_its_rewrite_is_used(writing: Writing) -> None:
    make = LocalModel(writing, questions=5, rewrites=1, samples=1)
    items = make([TOWER])[0]
    assert items[0].answer == "Ottilie Varn"
    assert len(items) == 6
    assert items[-1].kind == "rewrite"
    assert items[-1].answer.startswith("In Marl stands")
    assert make.report.topped_up == 4


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Q: Who? | A: Ann\nQ: Where? | A: here\nQ: When", 2),
        ("1. Question: Who? | Answer: Ann.", 1),
        ("- Q1: Who?\nA1: Ann", 1),
        ("Who? Ann", 0),
        ("", 0),
        ("Q: | A:", 0),
    ],
)
def test_lines_are_read_whatever_stands_between(text: str, count: int) -> None:
    items = list(read_lines(text, TOWER))
    assert len(items) == count
    assert all(item.answer in ("Ann", "here") for item in items)


def test_the_example_in_the_prompt_is_itself_valid() -> None:
    system, user, assistant, last = line_messages(TOWER)
    assert TOWER.text in last["content"]
    title, text = user["content"].removeprefix("Title: ").split("\n")
    example = Passage(text, title)
    items = list(read_lines(assistant["content"], example))
    assert validate(items, example)[1] == []
    assert len(items) == 5
    assert system["role"] == "system"
