"""A benchmark's question -> what a pipeline is asked: its form, the answers it allows, the passages given with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import EvaluationError
from ..types import Hit, Passage, Query
from .questions import Question

if TYPE_CHECKING:
    from ..store import Collection

_SLOT = "[SEP]"


def query_of(question: Question, hits: Sequence[Hit] | None = None) -> Query:
    """Returns what to ask.

    `subject [SEP] relation` becomes a question, since that is what adapters are trained on and what a retriever
    finds by; a claim is put as a claim; labels and choices are named in the prompt.

    Args:
        question: of the data set.
        hits: passages given with it; None: retrieve.
    """
    text = question.question
    if question.task == "slot_filling" and text.count(_SLOT) == 1:
        subject, relation = (part.strip() for part in text.split(_SLOT))
        if subject and relation:
            text = f"What is the {relation} of {subject}?"
    return Query(
        text,
        "claim" if question.task == "fact_verification" else "question",
        question.choices,
        question.id,
        None if hits is None else tuple(hits),
    )


def oracle(questions: Sequence[Question], collection: Collection, role: str = "gold") -> dict[str, list[Hit]]:
    """Returns the hits to give each question instead of retrieving: its own passages, as the collection holds them.

    A passage that was cut when it was added is given in its pieces, in reading order. All have score 1.

    Args:
        questions: with judged passages.
        collection: that holds these passages.
        role: `gold`, or a role of the data set, such as `counterfactual` or `noise`.

    Raises:
        EvaluationError: no question has a passage of this role, or the collection lacks one.
    """
    held = {passage.id: passage for passage in collection.passages()}
    by_title: dict[str, list[Passage]] = {}
    for passage in held.values():
        by_title.setdefault(passage.title, []).append(passage)
    given: dict[str, list[Passage]] = {}
    for question in questions:
        wanted = [entry for entry in question.passages if (entry.gold if role == "gold" else entry.role == role)]
        pieces: dict[str, Passage] = {}
        for entry in wanted:
            found = [held[entry.passage.id]] if entry.passage.id in held else []
            found = found or _cut_from(entry.passage, by_title.get(entry.passage.title, ()))
            if not found:
                raise EvaluationError(
                    f"the collection lacks a {role} passage of question {question.id!r} "
                    f"({entry.passage.title or entry.passage.text[:40]!r}); add the question file to it"
                )
            pieces.update((piece.id, piece) for piece in found)
        given[question.id] = list(pieces.values())
    if not any(given.values()):
        roles = sorted({entry.role for question in questions for entry in question.passages if entry.role})
        known = f"gold, {', '.join(roles)}" if roles else "gold"
        raise EvaluationError(f"no question comes with passages of role {role!r}; expected one of {known}")
    documents = collection.document_of({piece.id for pieces in given.values() for piece in pieces})
    return {key: [Hit(piece, documents[piece.id], 1.0) for piece in pieces] for key, pieces in given.items()}


def _cut_from(whole: Passage, candidates: Sequence[Passage]) -> list[Passage]:
    flat = " ".join(whole.text.split())
    places = {passage.id: flat.find(" ".join(passage.text.split())) for passage in candidates}
    inside = [passage for passage in candidates if places[passage.id] >= 0]
    return sorted(inside, key=lambda passage: places[passage.id])
