"""EM and F1 against the SQuAD v1.1 evaluation, written here again from its definition (arXiv 1606.05250, section 6)."""

import math
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from paramrag.evaluate import Question, metric
from paramrag.evaluate.normalise import fold, normalise


def squad_normalise(text: str) -> str:
    """Lower case, then punctuation, then articles, then white space."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    words, word = [], ""
    for character in kept:  # a word ends where a character is neither letter, digit nor underscore
        if character.isalnum() or character == "_":
            word += character
        else:
            words += [word, character]
            word = ""
    words.append(word)
    return " ".join("".join(" " if word in ("a", "an", "the") else word for word in words).split())


def squad_em(prediction: str, golds: list[str]) -> float:
    return max(float(squad_normalise(prediction) == squad_normalise(gold)) for gold in golds)


def squad_f1(prediction: str, golds: list[str]) -> float:
    best = 0.0
    for gold in golds:
        left, right = squad_normalise(gold).split(), squad_normalise(prediction).split()
        total, same = len(left) + len(right), 0
        for token in right:
            if token in left:
                left.remove(token)
                same += 1
        best = max(best, 2 * same / total if total else 0.0)
    return best


WORDS = st.sampled_from(
    [
        "the",
        "a",
        "An",
        "St.",
        "Louis",
        "1,000",
        "D.C.",
        "J.",
        "K.",
        "Rowling",
        "it's",
        "co-op",
        "Zoë",
        "1999",
        "\n",
        "-",
    ]
)
TEXT = st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=8).map(" ".join))


@given(TEXT)
def test_normalisation_is_the_scripts(text: str) -> None:
    assert normalise(text) == squad_normalise(fold(text))


@given(st.text(st.characters(max_codepoint=0x17F, exclude_characters="´«»"), max_size=40))
def test_text_without_typographic_marks_is_not_folded(text: str) -> None:
    assert fold(text) == text


@given(TEXT, st.lists(TEXT, min_size=1, max_size=4))
def test_em_and_f1_are_the_scripts(prediction: str, golds: list[str]) -> None:
    prediction, golds = fold(prediction), [fold(gold) for gold in golds]
    # Golds of articles alone, and yes/no against more words, are scored otherwise on purpose: see test_metrics.py.
    assume(all(squad_normalise(gold) for gold in golds))
    assume({"yes", "no", "noanswer"}.isdisjoint(map(squad_normalise, [prediction, *golds])))
    question = Question("q", "?", tuple(golds))
    assert metric("em").score(prediction, question) == squad_em(prediction, golds)
    assert math.isclose(metric("f1").score(prediction, question), squad_f1(prediction, golds))


@pytest.mark.parametrize(
    ("prediction", "golds", "em", "f1"),
    [
        ("Denver Broncos", ["Denver Broncos", "The Broncos"], 1.0, 1.0),
        ("the Denver Broncos won", ["Denver Broncos"], 0.0, 0.8),
        ("Carolina", ["Denver Broncos"], 0.0, 0.0),
        ("gold, gold", ["gold"], 0.0, 2 / 3),
    ],
)
def test_scores_worked_by_hand(prediction: str, golds: list[str], em: float, f1: float) -> None:
    question = Question("q", "?", tuple(golds))
    assert metric("em").score(prediction, question) == em == squad_em(prediction, golds)
    assert metric("f1").score(prediction, question) == pytest.approx(f1)
    assert squad_f1(prediction, golds) == pytest.approx(f1)
