"""Where sentences end, and where they only seem to."""

import pytest

from paramrag.corpus.sentences import sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in sentences(text)]


@pytest.mark.parametrize(
    "sentence",
    [
        "Mr. Smith met Mrs. Jones and Dr. No at noon.",
        "The value of pi is 3.14 and no more.",
        "They live in St. Louis near Mt. Hood.",
        "J. K. Rowling and J.R.R. Tolkien wrote books.",
        "The U.S. Army left Washington, D.C. Monday.",
        "Fruit, e.g. Apples, and tools, i.e. Hammers.",
        "See Fig. 3, No. 5 and pp. 12 in vol. 2.",
        "Born Jan. 5, 1900, to Prof. A. B. Ceed.",
        "In Brown v. Board the court ruled.",
        "Acme Inc. in Boston and Foo Ltd. Holdings merged.",
        "1. Open the lid.",
        'He asked "why?" and left.',
        "Visit example.com/a.html now.",
    ],
)
def test_dots_that_end_nothing(sentence: str) -> None:
    assert split(f"{sentence} The next one.") == [sentence, "The next one."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She moved to the U.S. The town was small.", ["She moved to the U.S.", "The town was small."]),
        ("He said no. Then he left.", ["He said no.", "Then he left."]),
        ("It began in 1990. In 1991 it ended.", ["It began in 1990.", "In 1991 it ended."]),
        ('He said "Go." Bob went!', ['He said "Go."', "Bob went!"]),
        ("Really?! Yes… Maybe... No.", ["Really?!", "Yes…", "Maybe...", "No."]),
        ("你好。世界！「走吧。」他说。", ["你好。", "世界！", "「走吧。」", "他说。"]),
        ("A title\n\nA text", ["A title", "A text"]),
        ("Buy:\n- milk\n- bread", ["Buy:", "- milk", "- bread"]),
        ("हम जाते हैं। वे आते हैं।", ["हम जाते हैं।", "वे आते हैं।"]),
        (" \n ", []),
    ],
)
def test_ends(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_a_hard_wrapped_line_is_no_end() -> None:
    assert split("One line\ngoes on here. Two.") == ["One line\ngoes on here.", "Two."]


def test_paragraphs_open_after_a_blank_line() -> None:
    assert [opens for _, _, opens in sentences("A. B one. Two.\n \nThree. Four.\n\n")] == [True, False, True, False]
