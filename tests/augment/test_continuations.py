"""Text that the rules cannot question is at least learnt by its sentences."""

from __future__ import annotations

import re

import pytest

from paramrag.augment import augmenter, validate
from paramrag.augment.continuations import continuations
from paramrag.types import Passage

ABSTRACT = "Even if it is eventually lost, what it gave persists, and shows that it was there. Some are like that."
NAMES = "Ada Carrasco ; Raúl Meraz ; Anabel Gutiérrez ; Elsa Cárdenas ; José Galvéz ; María Rivas ; Luz Ramos"


@pytest.mark.parametrize("text", [ABSTRACT, NAMES, NAMES * 5])
def test_beginning_and_rest_are_the_passages_own_words(text: str) -> None:
    passage = Passage(text, "Lamp")
    items = list(continuations(passage, 8))
    assert 0 < len(items) <= 8
    kept, rejected = validate(items, passage)
    assert (len(kept), rejected) == (len(items), [])
    for item in items:
        begun = item.question.split('"')[1]
        assert re.sub(r"[\s;]", "", begun + item.answer) in re.sub(r"[\s;]", "", text)


def test_the_limit_holds_and_nothing_comes_of_nothing() -> None:
    assert len(list(continuations(Passage(NAMES * 9, "Cast"), 2))) == 2
    assert list(continuations(Passage("Two words", "Cast"), 2)) == []


def test_rules_go_on_with_sentences_only_where_they_find_too_little() -> None:
    make = augmenter("rules")
    few, many = make(
        [
            Passage(ABSTRACT, "Lamp"),
            Passage("The Zorbik Tower was designed by Ottilie Varn in 1912. It stands in Port Quell.", "Zorbik Tower"),
        ]
    )
    assert any(item.kind == "passage" for item in few)
    assert len(many) >= 4
    assert all(item.kind != "passage" for item in many)
