"""The primer is consistent: every answer stands in its passage, and nothing in it is the demo's."""

from __future__ import annotations

from paramrag.augment.words import contains
from paramrag.demo import demo_passages
from paramrag.primer import primer


def test_every_answer_is_a_copy_from_its_passage() -> None:
    for passage, items in primer():
        assert len(items) == 9
        for item in items:
            assert item.passage_id == passage.id
            assert contains(passage.text, item.answer), (passage.title, item)


def test_passages_are_different_and_of_a_usual_length() -> None:
    passages = [passage for passage, _ in primer()]
    assert len({passage.id for passage in passages}) == len({passage.title for passage in passages}) == 140
    assert all(60 <= len(passage.text.split()) <= 160 for passage in passages)


def test_it_shares_no_subject_with_the_demo() -> None:
    ours = {passage.title for passage, _ in primer()}
    assert not ours & {passage.title for passage in demo_passages()}
