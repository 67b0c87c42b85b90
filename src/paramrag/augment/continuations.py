"""Sentences to be gone on with: what the rules ask where they find too little else to ask."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..types import Passage, TrainingItem
from .pieces import pieces

GIVEN, ASKED = 8, 10
"""Words of a sentence that the question gives, and that the answer goes on with, at most."""
_LEAST = 6


def continuations(passage: Passage, limit: int) -> Iterator[TrainingItem]:
    """Yields at most `limit` items of kind `passage`: how a sentence, or a run of words, begins, and goes on."""
    name = passage.title.strip() or "The text"
    asked: set[str] = set()
    long = [piece for piece in pieces(passage.text) if len(piece.split()) >= _LEAST]
    for piece in long or _windows(passage.text):
        if len(asked) == limit:
            return
        spans = [match.span() for match in re.finditer(r"\S+", piece)]
        given = min(GIVEN, len(spans) // 2)
        question = f'{name}: how does "{piece[: spans[given - 1][1]]}" go on?'
        answer = piece[spans[given][0] : spans[min(given + ASKED, len(spans)) - 1][1]].rstrip(".,;: ")
        if question not in asked:
            asked.add(question)
            yield TrainingItem(passage.id, question, answer, "passage")


def _windows(text: str) -> Iterator[str]:
    """Yields runs of words of a text without sentences, such as a list of names."""
    words = text.split()
    for start in range(0, len(words), GIVEN + ASKED):
        if len(words) - start >= _LEAST:
            yield " ".join(words[start : start + GIVEN + ASKED])
