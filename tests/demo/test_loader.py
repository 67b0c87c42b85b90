"""The loader: frozen values, spans, and files that travel with the package."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from paramrag.corpus.cutting import cut
from paramrag.demo import demo_items, demo_passages, demo_questions, loader
from paramrag.errors import CorpusError


def test_spans_point_at_the_answers() -> None:
    passages = {passage.id: passage for passage in demo_passages()}
    items = demo_items()
    assert list(items) == list(passages)
    for passage_id, own in items.items():
        text = passages[passage_id].text
        for item in own:
            assert item.passage_id == passage_id
            assert item.span is not None
            start, end = item.span
            assert text[start:end] == item.answer
            assert not text[start - 1 : start].isalnum()
            assert not text[end : end + 1].isalnum()


def test_item_ids_and_passage_ids_are_unique() -> None:
    ids = [item.id for own in demo_items().values() for item in own]
    assert len(set(ids)) == len(ids)
    assert len({passage.id for passage in demo_passages()}) == len(demo_passages())


def test_every_call_returns_fresh_lists() -> None:
    demo_items().popitem()
    demo_passages().clear()
    assert demo_items().keys() == {passage.id for passage in demo_passages()}


def test_questions_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        demo_questions()[0].question = "Who?"  # type: ignore[misc]


def test_cutting_keeps_every_passage_whole() -> None:
    for passage in demo_passages():
        assert cut(passage.text, title=passage.title) == (passage,)


def test_an_answer_that_is_only_part_of_a_word_is_refused() -> None:
    passage = next(passage for passage in demo_passages() if "lamplighters" in passage.text)
    with pytest.raises(CorpusError, match=r"'lamp'.*Republic of Vellmark"):
        loader._span(passage, "lamp")


def test_loading_needs_no_heavy_library() -> None:
    code = (
        "import sys; from paramrag.demo import demo_items; demo_items(); "
        "print(sorted({'torch', 'transformers', 'lancedb', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
