"""Shipped JSONL files -> passages, test questions and training items of the demo.

Everything in the files is invented, so a base model knows none of it; whatever it answers right came from the text or
from an adapter. The files are data of the package and are read the same way from a checkout and from an installation.
The module knows nothing of collections, models or scores.

    passages.jsonl    {"title", "text"}; one passage a line, short enough that the reader keeps it whole
    questions.jsonl   {"id", "question", "answers", "kind", "titles"}; never seen in training
    items.jsonl       {"title", "question", "answer", "kind", "phrasing"}; `phrasing` counts the wordings of one fact
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from ..errors import CorpusError
from ..types import Passage, TrainingItem

QuestionKind = Literal["single", "two-hop", "paraphrase", "conflict"]
"""What a question tries: one fact; two facts from two passages; a fact in words foreign to the passage; a fact that
contradicts common knowledge."""


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A test question of the demo corpus."""

    id: str
    """Unique and stable: the kind and a number."""
    question: str
    """As it is asked."""
    answers: tuple[str, ...]
    """Right answers; the first is a copy from the last gold passage, the others are shorter or other spellings."""
    kind: QuestionKind
    """What the question tries."""
    titles: tuple[str, ...]
    """Titles of the gold passages. Of a two-hop question: the passage of its subject, then that of the answer."""


def demo_passages() -> list[Passage]:
    """Returns the passages of the demo corpus, in reading order; their titles are unique."""
    return [Passage(row["text"], row["title"], 0, len(row["text"])) for row in _rows("passages.jsonl")]


def demo_questions() -> list[DemoQuestion]:
    """Returns the test questions, ordered by kind."""
    return [
        DemoQuestion(row["id"], row["question"], tuple(row["answers"]), row["kind"], tuple(row["titles"]))
        for row in _rows("questions.jsonl")
    ]


def demo_items() -> dict[str, list[TrainingItem]]:
    """Returns the training items by passage id, for every passage and in its order, each with its answer's span.

    Raises:
        CorpusError: if an answer is not in its passage, which means that a shipped file was changed by hand.
    """
    passages = demo_passages()
    by_title = {passage.title: passage for passage in passages}
    items: dict[str, list[TrainingItem]] = {passage.id: [] for passage in passages}
    for row in _rows("items.jsonl"):
        passage = by_title.get(row["title"])
        if passage is None:
            raise CorpusError(
                f"demo item {row['question']!r} belongs to {row['title']!r}, which is no title in passages.jsonl; "
                "expected one of its titles: reinstall paramrag"
            )
        span = _span(passage, row["answer"])
        items[passage.id].append(TrainingItem(passage.id, row["question"], row["answer"], row["kind"], span))
    return items


def _span(passage: Passage, answer: str) -> tuple[int, int]:
    """Finds the answer's first place in the passage that neither begins nor ends inside a word."""
    match = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", passage.text)
    if match is None:
        raise CorpusError(
            f"demo item with answer {answer!r} does not fit the passage {passage.title!r}; "
            "expected a copy from its text: reinstall paramrag"
        )
    return match.span()


def _rows(name: str) -> list[dict[str, Any]]:
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
