"""The primer: 140 invented passages with nine questions each, from which a model learns how to answer and to ask.

Nothing in it is true, so nothing in it helps to answer a question of anybody's: what a model takes from it is the
manner. It is apart from the demo's corpus and from every benchmark. One passage a line of `primer.jsonl`:
{"title", "text", "items": [{"question", "answer", "kind"}]}; every answer is a copy from the text.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from ..types import Passage, TrainingItem


@cache
def primer() -> tuple[tuple[Passage, tuple[TrainingItem, ...]], ...]:
    """Returns the passages with their items, in a fixed order."""
    text = (resources.files(__package__) / "primer.jsonl").read_text(encoding="utf-8")
    made = []
    for row in map(json.loads, text.splitlines()):
        passage = Passage(row["text"], row["title"], 0, len(row["text"]))
        items = tuple(TrainingItem(passage.id, one["question"], one["answer"], one["kind"]) for one in row["items"])
        made.append((passage, items))
    return tuple(made)


__all__ = ["primer"]
