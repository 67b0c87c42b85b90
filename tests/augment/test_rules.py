from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramrag.augment import Rules, validate
from paramrag.augment.words import forms
from paramrag.demo.loader import demo_passages
from paramrag.types import Passage

PROSE = Passage(
    "Ivan Ivanovych Kulichenko (Ukrainian: Іван Іванович; born on 7 July 1955, Dnipropetrovsk) is a Ukrainian "
    "politician who was from 2014 until 2019 People's Deputy of Ukraine. He "
    "was elected in Kyiv in October 2014. In 1999, he "
    "founded the Party of Reform. His father, Petro Kulichenko, was a miner. Kulichenko has 3 daughters.",
    "Ivan Kulichenko",
)
LINES = Passage(
    "# Leda Cormier\n\n## Family\nThe sons of Leda Cormier are Dion Cormier, Earle Cormier.\n"
    "The husband of Leda Cormier is Foster Cormier.\n\n## Attributes\n"
    "The date of birth of Leda Cormier is 0204-08-23.\nThe occupation of Leda Cormier is museum conservator.",
    "Leda Cormier",
)


def asked(passage: Passage, questions: int = 60) -> dict[str, str]:
    return {item.question: item.answer for item in Rules(questions=questions)([passage])[0]}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was Ivan Kulichenko born?", "7 July 1955"),
        ("Where was Ivan Kulichenko born?", "Dnipropetrovsk"),
        ("What is the occupation of Ivan Kulichenko?", "politician"),
        ("What is the nationality of Ivan Kulichenko?", "Ukrainian"),
        ("Who was the father of Ivan Kulichenko?", "Petro Kulichenko"),
        ("Ivan Kulichenko was elected in", "Kyiv"),
        ("Ivan Kulichenko has how many daughters?", "3"),
    ],
)
def test_facts_of_prose(question: str, answer: str) -> None:
    assert asked(PROSE)[question] == answer


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who are the sons of Leda Cormier?", "Dion Cormier, Earle Cormier"),
        ("Besides Dion Cormier, who is a son of Leda Cormier?", "Earle Cormier"),
        ("Whose husband is Foster Cormier?", "Leda Cormier"),
        ("When was Leda Cormier born?", "0204-08-23"),
        ("What does Leda Cormier do for a living?", "museum conservator"),
        ("What is Leda Cormier's occupation?", "museum conservator"),
        ("The occupation of Leda Cormier is", "museum conservator"),
    ],
)
def test_facts_of_relation_lines(question: str, answer: str) -> None:
    assert asked(LINES)[question] == answer


@pytest.mark.parametrize(
    ("text", "title", "question", "answer"),
    [
        (
            "Hush is a 2016 American horror film directed and edited by Mike Flanagan.",
            "",
            "Who directed Hush?",
            "Mike Flanagan",
        ),
        ("Hush is a 2016 American horror film directed by Mike Flanagan.", "", "What kind of film is Hush?", "horror"),
        (
            "Budapest is the capital and most populous city of Hungary.",
            "",
            "What is the capital of Hungary?",
            "Budapest",
        ),
        (
            "Budapest is a city. It has an estimated population of 1,752,286.",
            "Budapest",
            "What is the population of Budapest?",
            "1,752,286",
        ),
        (
            "Tess, a city of 212,000 people, spreads over both banks of the Quill.",
            "Tess",
            "Tess is a city of",
            "212,000 people",
        ),
        (
            "EMPIRE is a label. Founded in 2010 by Ghazi Shami, it has sold records in Rome.",
            "EMPIRE",
            "EMPIRE was founded in 2010 by",
            "Ghazi Shami",
        ),
        (
            "The Republic of Vell lies north. It was proclaimed in 1794.",
            "Republic of Vell",
            "In what year was the Republic of Vell proclaimed?",
            "1794",
        ),
        (
            "Derek Jacobi (born 1938), English actor ; Derek Lamb (1936–2005), American animator",
            "Derek",
            "Who is Derek Jacobi?",
            "English actor",
        ),
        ("Population: 3,400", "Ulm", "What is given as the population of Ulm?", "3,400"),
        ("Directed by: Anna Berg", "Snow", "Who directed Snow?", "Anna Berg"),
    ],
)
def test_patterns(text: str, title: str, question: str, answer: str) -> None:
    assert asked(Passage(text, title))[question] == answer


@pytest.mark.parametrize(
    ("text", "title", "falsehood"),
    [
        # the area is that of the metropolitan region
        (
            "Budapest is a city. Budapest, which is old, forms the centre of the metropolitan region, which has an "
            "area of 7,626 square kilometres.",
            "Budapest",
            "What is the area of Budapest?",
        ),
        # `he` is the husband
        (
            "Ada Lind was a painter. Her husband Karl Lind left. He was born in 1900 in Ulm.",
            "Ulm",
            "Where was Ulm born?",
        ),
        # years of an office
        (
            "Carlo Bonzi was a duke and the brother of Ugo Bonzi, Viceroy of Sicily (1653–1660), a Knight.",
            "Carlo Bonzi",
            "In what year was Carlo Bonzi born?",
        ),
        # another thing, whose name begins with that of the topic
        (
            "Turin is a city. The Turin metropolitan area has a population of 2.2 million.",
            "Turin",
            "What is the population of Turin?",
        ),
        # one of several
        ("Ford, Toyota and Holden were made in Victoria.", "Victoria", "What was made in Victoria?"),
    ],
)
def test_no_falsehoods(text: str, title: str, falsehood: str) -> None:
    assert falsehood not in asked(Passage(text, title))


def test_every_demo_passage_yields_enough_and_only_what_validates() -> None:
    passages = demo_passages()
    rules = Rules(questions=16)
    made = rules(passages)
    assert sum(map(len, made)) / len(made) >= 8
    assert min(map(len, made)) >= 3
    for passage, items in zip(passages, made, strict=True):
        assert validate(items, passage) == (items, [])
        for item in items:
            start, end = item.span or (0, 0)
            assert forms(passage.text[start:end]) == forms(item.answer)
    assert sum(rules.report.kept.values()) == sum(map(len, made))
    assert rules.report.passages == len(passages)


def test_items_do_not_depend_on_company_and_the_id_on_nothing_but_settings() -> None:
    passages = demo_passages()[:6]
    together = Rules()(passages)
    assert together == [Rules()([passage])[0] for passage in passages]
    assert Rules().id == Rules().id
    assert len({Rules().id, Rules(seed=1).id, Rules(questions=3).id, Rules(rewrites=1).id}) == 4


def test_few_questions_are_the_best_and_spread_over_sentences() -> None:
    few = Rules(questions=4)([PROSE])[0]
    assert len(few) == 4
    assert len({item.answer for item in few}) == 4
    assert few == Rules(questions=16)([PROSE])[0][:4]


def test_rewrites_restate_in_order_and_name_the_subject() -> None:
    rules = Rules(questions=0, rewrites=2)
    items = rules([PROSE])[0]
    assert [item.kind for item in items] == ["rewrite", "rewrite"]
    text = items[0].answer
    assert "Ivan Kulichenko was elected in Kyiv" in text
    assert "7 July 1955" in text
    assert text.index("elected") < text.index("founded") < text.index("miner")
    assert validate(items, PROSE) == (items, [])


def test_progress_is_told() -> None:
    seen: list[tuple[str, int, int | None]] = []
    Rules(progress=lambda *step: seen.append(step))(demo_passages()[:2])
    assert seen == [("augment", 1, 2), ("augment", 2, 2)]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300), st.text(max_size=30), st.integers(0, 20))
def test_any_text_is_survived(text: str, title: str, questions: int) -> None:
    check(Passage(text, title), questions)


_PIECES = st.sampled_from(
    re.findall(
        r"\S+",
        "He She It The In On by was is are born founded (c. 1900) 7 July 1955 1,000 km, ; : . “Old Harry” Paris, "
        "France and Mary Smith 's who which # - * | of the a population capital 東京 Zürich ( ) [ ] ’ — Derek \"",
    )
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_PIECES, max_size=60), st.lists(_PIECES, max_size=3))
def test_any_order_of_words_is_survived(text: list[str], title: list[str]) -> None:
    check(Passage(" ".join(text).replace("| ", "\n\n"), " ".join(title)), 16)


def check(passage: Passage, questions: int) -> None:
    items = Rules(questions=questions, rewrites=2)([passage])[0]
    assert len([item for item in items if item.kind != "rewrite"]) <= questions
    assert validate(items, passage) == (items, [])
    assert items == Rules(questions=questions, rewrites=2)([passage])[0]


@pytest.mark.parametrize(
    "text",
    [
        "a" * 20_000,
        "A " * 5_000,
        "(" * 5_000,
        "1," * 5_000,
        "Abc " * 5_000,
        "x, " * 5_000,
        '"' * 5_000,
        "He was in " * 2_000,
    ],
    ids=["run", "letters", "brackets", "numbers", "names", "commas", "quotes", "words"],
)
def test_odd_text_takes_no_odd_time(text: str) -> None:
    started = time.perf_counter()
    Rules(rewrites=1)([Passage(text, "Abc")])
    assert time.perf_counter() - started < 5
