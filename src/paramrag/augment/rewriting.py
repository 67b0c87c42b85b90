"""Passage -> restatements by rule, for recipes that want a rewrite and have no model that can write one.

A restatement keeps the order of the sentences and every fact that the statements hold: pronouns become the topic's
name, opening phrases move to the end, remarks in brackets become sentences of their own. It is no paraphrase in other
words; a model or an endpoint makes those.
"""

from __future__ import annotations

from ..types import Passage, TrainingItem
from .report import AugmentReport
from .statements import Statement, statements
from .topics import topic
from .validation import validate

_OPENINGS = ("This is about {y}.", "What follows concerns {y}.", "Here is what is known of {y}.", "The subject is {y}.")


def rewrites(passage: Passage, limit: int, report: AugmentReport) -> list[TrainingItem]:
    """Returns at most `limit` valid restatements, each in another arrangement; none where nothing can be restated."""
    about = topic(passage)
    said = statements(passage, about)
    items = []
    for number in range(min(limit, len(_OPENINGS))):
        lines = [_line(statement, with_brackets=number % 2 == 0) for statement in said]
        opening = [_OPENINGS[number].format(y=about.name)] if about.name else []
        text = " ".join(opening + [line for line in lines if line])
        items.append(TrainingItem(passage.id, question(passage, number), text, "rewrite"))
    kept, rejected = validate(items, passage)
    report.parsed += len(items)
    report.rejected.update(entry.reason for entry in rejected)
    return kept


def question(passage: Passage, number: int = 0) -> str:
    """Returns the closed-book request that a rewrite answers."""
    subject = topic(passage).name
    if not subject:
        subject = " ".join(passage.text.split()[:6])
    return (
        f"What is known about {subject}?",
        f"Tell me about {subject}.",
        f"Describe {subject}.",
        f"Summarise what is written about {subject}.",
    )[number % 4]


def _line(statement: Statement, *, with_brackets: bool) -> str:
    text = statement.text if statement.text[-1:] in ".!?" else f"{statement.text}."
    notes = [f"(In brackets: {inner}.)" for inner in statement.brackets if inner] if with_brackets else []
    return " ".join([text, *notes])
