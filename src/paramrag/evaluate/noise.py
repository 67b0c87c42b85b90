"""Passages that are noise for a question: what was found for other questions.

They look like what a retriever returns, but neither bear a gold title nor hold a gold answer, and are none of the
question's own hits. The choice is decided by the seed and the question, so that text and adapters, all modes, and
all damages get the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import EvaluationError
from ..types import Hit, Query
from .labels import label_of
from .metrics.has_answer import holds
from .questions import Question

if TYPE_CHECKING:
    from ..store import Collection


class OtherQuestions:
    """Takes the place of hits by hits of other questions of the same file."""

    def __init__(
        self, questions: Sequence[Question], find: Callable[[Question], Sequence[Hit]], *, seed: int = 0
    ) -> None:
        """Settles where noise comes from.

        Args:
            questions: all questions of the run; ids are unique.
            find: a question's own hits, retrieved or given.
            seed: decides which other questions are taken.
        """
        self._questions = {question.id: question for question in questions}
        self._find, self._seed = find, seed
        self._found: dict[str, Sequence[Hit]] = {}

    def __call__(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """Returns one noise passage per hit.

        Raises:
            EvaluationError: the query is none of the questions, or the others have too few passages.
        """
        if query.id not in self._questions:
            raise EvaluationError(f"noise is chosen for the questions of a run; {query.text!r} is none of them")
        question = self._questions[query.id]
        own = {hit.passage.id for hit in hits}
        chosen: dict[str, Hit] = {}
        for hit in self._candidates(question):
            if len(chosen) == len(hits):
                break
            if hit.passage.id not in own and is_noise(hit, question):
                chosen.setdefault(hit.passage.id, hit)
        if len(chosen) < len(hits):
            raise EvaluationError(
                f"the other questions have {len(chosen)} passages that are noise for {question.id!r}, "
                f"{len(hits)} are needed; evaluate more questions"
            )
        return list(chosen.values())

    def _candidates(self, question: Question) -> Iterator[Hit]:
        others = [other for other in self._questions if other != question.id]
        rng = np.random.default_rng([self._seed, *question.id.encode()])
        for index in rng.permutation(len(others)):
            other = others[index]
            if other not in self._found:
                self._found[other] = tuple(self._find(self._questions[other]))
            yield from self._found[other]


class AnyPassage:
    """Takes the place of hits by other passages of the collection, whatever they say: another document's adapter."""

    def __init__(
        self, collection: Collection, *, seed: int = 0, among: Callable[[], Iterable[str]] | None = None
    ) -> None:
        """Settles what is drawn from.

        Args:
            collection: holds the passages.
            seed: decides which are drawn.
            among: gives the ids that are drawn from, asked once and late; None: the whole collection. Those that a run
                uses anyway have adapters already.
        """
        self._collection, self._seed = collection, seed
        self._among = among or collection.passage_ids

    @cached_property
    def _ids(self) -> list[str]:
        return sorted(set(self._among()))

    def __call__(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """Returns one passage per hit, none of them twice and none a hit.

        Raises:
            EvaluationError: the collection has too few passages.
        """
        own = {hit.passage.id for hit in hits}
        if len(self._ids) < 2 * len(hits):
            raise EvaluationError(
                f"there are {len(self._ids)} passages to swap with; {2 * len(hits)} are needed to swap {len(hits)} "
                "hits: evaluate more questions, or use a larger collection"
            )
        rng = np.random.default_rng([self._seed, *query.text.encode()])
        drawn = rng.choice(len(self._ids), size=2 * len(hits), replace=False)
        chosen = [self._ids[index] for index in drawn if self._ids[index] not in own][: len(hits)]
        documents = self._collection.document_of(chosen)
        return [Hit(passage, documents[passage.id], 0.0) for passage in self._collection.passages(chosen)]


def is_noise(hit: Hit, question: Question) -> bool:
    """Returns whether a passage neither bears the title of a gold passage nor holds a gold answer.

    Labels (yes, REFUTES) are no answers in this sense: they stand in any text.
    """
    passage = hit.passage
    judged = [entry.passage for entry in question.passages if entry.gold]
    if any(passage.id == gold.id or (passage.title and passage.title == gold.title) for gold in judged):
        return False
    sides = [text for side in ("counterfactual", "original") for text in question.metadata.get(side, ())]
    answers = [answer for answer in (*question.answers, *sides) if label_of(answer) is None]
    return not any(holds(f"{passage.title} {passage.text}", answer) for answer in answers)
