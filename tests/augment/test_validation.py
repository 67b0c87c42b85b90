from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramrag.augment import validate
from paramrag.augment.validation import MAX_ANSWER_WORDS
from paramrag.types import Passage, TrainingItem

PASSAGE = Passage(
    "Marie Curie was born in Warsaw in 1867. She won 2 Nobel Prizes, shared one with Jean-Paul Rivet, and earned "
    "1,000 francs. Her laboratory, the “Institut du Radium”, stood in Paris.",
    "Marie Curie",
)


def item(question: str, answer: str, kind: str = "qa", passage: Passage = PASSAGE) -> TrainingItem:
    return TrainingItem(passage.id, question, answer, kind)


def reason(question: str, answer: str, kind: str = "qa") -> str:
    kept, rejected = validate([item(question, answer, kind)], PASSAGE)
    assert len(kept) + len(rejected) == 1
    return rejected[0].reason if rejected else ""


@pytest.mark.parametrize(
    ("answer", "standing"),
    [
        ("warsaw", "Warsaw"),
        ("The Warsaw.", "Warsaw"),
        ("1000 francs", "1,000 francs"),
        ('"institut du radium"', "Institut du Radium"),
        ("Jean Paul Rivet", "Jean-Paul Rivet"),
    ],
)
def test_answer_is_resolved_to_its_place_in_the_original_text(answer: str, standing: str) -> None:
    kept, _ = validate([item("What does Marie Curie have to do with it?", answer)], PASSAGE)
    start, end = kept[0].span or (0, 0)
    assert PASSAGE.text[start:end] == standing


@pytest.mark.parametrize("answer", ["Warsa", "rsaw", "186", "000", "Jean", "London", "Warsaw in 1868"])
def test_answer_that_does_not_stand_in_the_passage_is_rejected(answer: str) -> None:
    assert reason("What does Marie Curie have to do with it?", answer) == "answer is not in the passage"


def test_yes_and_no_need_not_stand_in_the_passage() -> None:
    assert reason("Did Marie Curie win a Nobel Prize?", "Yes") == ""
    assert reason("Was Marie Curie born in London?", "no.") == ""


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("", "question is empty"),
        ("?!", "question is empty"),
        ("When was she born?", "question has a bare pronoun"),
        ("Where was he born, this Marie Curie?", "question has a bare pronoun"),
        ("Where does the giraffe sleep?", "question does not name its subject"),
        ("Where in Warsaw was Marie Curie born?", "question holds the answer"),
        ("Where was Marie Curie", "question is unfinished"),
        ("Marie Curie was born in the city of,", "question is unfinished"),
        ("Where was Marie Curie born...", "question is unfinished"),
        ("Where was Marie Curie born?", ""),
        ("Curie was born in which city?", ""),
        ("Name the birthplace of Marie Curie.", ""),
    ],
)
def test_questions(question: str, expected: str) -> None:
    assert reason(question, "Warsaw") == expected


def test_cloze_may_end_in_the_middle_of_a_sentence() -> None:
    assert reason("Marie Curie was born in", "Warsaw", "cloze") == ""
    assert reason("Marie Curie, born in (", "Warsaw", "cloze") == "question is unfinished"


def test_answers_are_short_and_not_empty() -> None:
    long = " ".join(PASSAGE.text.split()[: MAX_ANSWER_WORDS + 3])
    assert reason("What is said of Marie Curie?", long) == "answer is too long"
    assert reason("What is said of Marie Curie?", " .") == "answer is empty"


def test_a_title_of_small_words_is_a_subject() -> None:
    passage = Passage("They All Come Out is a 1939 film by Jacques Tourneur.", "They All Come Out")
    kept, _ = validate([item("Who directed They All Come Out?", "Jacques Tourneur", passage=passage)], passage)
    assert len(kept) == 1


def test_duplicates_lose_to_the_first() -> None:
    items = [
        item("Where was Marie Curie born?", "Warsaw"),
        item("where was Marie Curie born", "1867"),
        item("In what year was Marie Curie born?", "1867"),
    ]
    kept, rejected = validate(items, PASSAGE)
    assert [one.answer for one in kept] == ["Warsaw", "1867"]
    assert [one.reason for one in rejected] == ["question is unfinished"]
    kept, rejected = validate([items[0], items[0]], PASSAGE)
    assert [one.reason for one in rejected] == ["duplicate"]


def test_nearly_equal_questions_with_one_answer_are_duplicates() -> None:
    long = "In which large and famous old European city on a wide river was Marie Curie born"
    kept, rejected = validate([item(f"{long}?", "Warsaw"), item(f"{long} long ago?", "Warsaw")], PASSAGE)
    assert len(kept) == 2  # 15 of 17 words
    again = "In which large famous and old European city on a wide river was Marie Curie born?"
    kept, rejected = validate([item(f"{long}?", "Warsaw"), item(again, "Warsaw")], PASSAGE)
    assert [one.reason for one in rejected] == ["near duplicate"]


def test_items_of_another_passage_and_unknown_kinds_are_rejected() -> None:
    stray = TrainingItem("0", "Where was Marie Curie born?", "Warsaw")
    assert validate([stray], PASSAGE)[1][0].reason == "belongs to another passage"
    assert reason("Where was Marie Curie born?", "Warsaw", "riddle") == "unknown kind"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            "In 1867 Marie Curie came to the world in Warsaw. Two Nobel Prizes were hers, one shared with Jean-Paul "
            "Rivet, and 1,000 francs; the Institut du Radium in Paris was her laboratory, she had 2 prizes.",
            "",
        ),
        ("In 1868 Marie Curie came to the world in Warsaw.", "has a number that is not in the passage"),
        ("A scientist was born and later won some prizes and had a place to work in.", "rewrite loses most names"),
        (PASSAGE.text.upper(), "rewrite is the passage itself"),
        ("", "answer is empty"),
    ],
)
def test_rewrites_keep_names_and_numbers_and_add_none(answer: str, expected: str) -> None:
    assert reason("What is known about Marie Curie?", answer, "rewrite").startswith(expected)
    assert bool(expected) == bool(reason("What is known about Marie Curie?", answer, "rewrite"))


def test_a_summary_is_shorter_and_about_the_passage_and_a_passage_is_a_copy() -> None:
    ask = "What is known about Marie Curie?"
    assert reason(ask, "Marie Curie of Warsaw won Nobel Prizes.", "summary") == ""
    assert reason(ask, "Cats sleep long in warm kitchens.", "summary") == "summary is not about the passage"
    assert reason(ask, PASSAGE.text + " And so on.", "summary") == "summary is no shorter than the passage"
    assert reason(ask, PASSAGE.text, "passage") == ""
    assert reason(ask, "Marie Curie was a chemist.", "passage") == "is no part of the passage"


TEXT = st.text(max_size=60)


@given(
    st.lists(st.tuples(TEXT, TEXT, st.sampled_from(["qa", "cloze", "rewrite", "summary", "passage", "x"]))), TEXT, TEXT
)
def test_validation_is_stable_and_loses_nothing(rows: list[tuple[str, str, str]], text: str, title: str) -> None:
    passage = Passage(text, title)
    items = [item(*row, passage=passage) for row in rows]
    kept, rejected = validate(items, passage)
    assert len(kept) + len(rejected) == len(items)
    again, none = validate(kept, passage)
    assert again == kept
    assert not none
    for one in kept:
        assert one.span is None or 0 <= one.span[0] < one.span[1] <= len(text)
