"""Passages of about so many words, whole sentences, exact spans."""

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramrag.corpus import cut
from paramrag.corpus.cutting import word_count
from paramrag.corpus.sentences import sentences
from paramrag.errors import ConfigError


def prose(*lengths: int, start: int = 0) -> str:
    """Sentences of the given numbers of words."""
    return " ".join(
        " ".join([f"Word{start + number}", *(f"w{index}" for index in range(length - 1))]) + "."
        for number, length in enumerate(lengths)
    )


anything = st.text(max_size=400) | st.lists(
    st.sampled_from(["Word", "word", "Dr.", "3.14", "end.", "End!", "\n\n", "\n- ", " ", "。", "中", "x" * 70, "("]),
    max_size=200,
).map(" ".join)


@given(anything, st.integers(1, 30))
def test_spans_are_exact_ordered_and_leave_out_only_white_space(text: str, words: int) -> None:
    position = 0
    for passage in cut(text, words=words):
        assert passage.text == text[passage.start : passage.end]
        assert passage.text == passage.text.strip() != ""
        assert text[position : passage.start].strip() == ""
        position = passage.end
    assert text[position:].strip() == ""


@given(anything, st.integers(1, 30))
def test_no_passage_is_tiny_unless_it_is_alone(text: str, words: int) -> None:
    passages = cut(text, words=words)
    sizes = [word_count(passage.text) for passage in passages]
    assert len(sizes) == 1 or all(3 * size >= words for size in sizes)
    assert all(size <= 3 * words for size in sizes)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40), st.integers(10, 30))
def test_sentences_stay_whole(lengths: list[int], words: int) -> None:
    text = prose(*lengths)
    ends = {end for _, end, _ in sentences(text)}
    assert {passage.end for passage in cut(text, words=words)} <= ends


def test_lengths_are_balanced() -> None:
    sizes = [word_count(passage.text) for passage in cut(prose(*[10] * 42))]
    assert sum(sizes) == 420
    assert len(sizes) == 4
    assert all(90 <= size <= 120 for size in sizes)


def test_a_short_tail_joins_its_predecessor() -> None:
    text = prose(*[20] * 5) + "\n\n" + prose(10)
    assert [word_count(passage.text) for passage in cut(text)] == [110]


def test_paragraphs_are_respected() -> None:
    first, second, third = prose(*[9] * 10), prose(*[8] * 10), prose(*[10] * 11)
    assert [p.text for p in cut(f"{first}\n\n{second}\n\n{third}")] == [first, second, third]


def test_short_paragraphs_are_gathered() -> None:
    text = "\n\n".join(prose(10, start=number) for number in range(30))
    sizes = [word_count(passage.text) for passage in cut(text)]
    assert all(60 <= size <= 120 for size in sizes)


def test_only_a_sentence_over_twice_the_length_is_divided() -> None:
    assert len(cut(prose(200))) == 1
    assert len(cut(prose(201))) == 2


def test_an_overlong_sentence_is_divided_at_clauses() -> None:
    clause = " ".join(["word"] * 45)
    pieces = cut("; ".join([clause] * 6) + ".")
    assert [word_count(piece.text) for piece in pieces] == [90, 90, 90]
    assert pieces[0].text.endswith(";")


def test_text_without_punctuation_is_divided_between_words() -> None:
    pieces = cut("word " * 1000)
    assert {len(piece.text.split()) for piece in pieces} == {100}


def test_chinese_is_counted_by_the_character() -> None:
    pieces = cut("今天天气很好我们去公园。" * 40)
    assert all(80 <= len(piece.text) <= 160 for piece in pieces)
    assert all(piece.text.endswith("。") for piece in pieces)


def test_a_run_without_spaces_does_not_become_one_passage() -> None:
    assert max(len(piece.text) for piece in cut("x" * 100_000)) <= 32 * 200


def test_title_and_identity() -> None:
    (passage,) = cut("  A short text. ", title="T")
    assert (passage.title, passage.text, passage.start, passage.end) == ("T", "A short text.", 2, 15)
    assert cut(" \n\t") == ()


def test_surrogates_and_nul_are_text() -> None:
    (passage,) = cut("a \ud800 b \0 c")
    assert len(passage.id) == 20


def test_words_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="words is 0; expected at least 1"):
        cut("text", words=0)


@pytest.mark.parametrize(
    "piece", ["A word and more here. ", "a. ", ".", "x", "\n", "w\n\n", '.)"', "Dr. ", "中", "\n "]
)
def test_time_grows_linearly(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        begin = time.process_time()
        cut(text)
        return time.process_time() - begin

    small = min(seconds(20_000) for _ in range(3))
    assert seconds(320_000) < 16 * 4 * small + 0.05  # quadratic would be 256 times


def test_import_is_light() -> None:
    code = (
        "import sys, paramrag.corpus; "
        "heavy = {'torch', 'transformers', 'lancedb', 'pyarrow', 'numpy', 'pypdf'} & set(sys.modules); "
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
