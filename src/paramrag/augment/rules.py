"""The augmenter that needs no model: patterns and clozes over the passage's own sentences.

Precise rather than fluent: every answer is a copy from the passage and every question is built from the words around
it. English only in its patterns; text in other languages yields clozes at best. Deterministic.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ..types import Passage, Progress, TrainingItem
from .candidates import Candidate, choose
from .continuations import continuations
from .entries import entries
from .facts import facts
from .questions import questions as asked
from .relations import relations
from .report import AugmentReport
from .rewriting import rewrites as rewritten
from .spans import people_in
from .statements import statements
from .topics import topic
from .validation import validate

RULES_VERSION = "2"
"""Part of the id of every augmenter that uses the rules: raise it when they would make other items."""


FEW = 4
"""With fewer items than this, sentences to be gone on with are asked too."""


class Rules:
    """Makes training items by rules.

    Example:
        items = Rules(questions=16)([passage])[0]
    """

    def __init__(
        self, *, questions: int = 16, rewrites: int = 0, seed: int = 0, progress: Progress | None = None
    ) -> None:
        """Prepares the augmenter.

        Args:
            questions: most question items per passage.
            rewrites: rewrites of each passage; restatements by rule, fewer if the text allows no more.
            seed: decides the order of equally good items.
            progress: called as passages are done.
        """
        self.questions, self.rewrites, self.seed, self._progress = questions, rewrites, seed, progress
        self.id = f"rules/{RULES_VERSION} questions={questions} rewrites={rewrites} seed={seed}"
        self.report = AugmentReport()

    def __call__(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        """Returns the items of each passage, best first; none for one that has no sentence of some words."""
        started = time.perf_counter()
        made: list[list[TrainingItem]] = []
        for done, passage in enumerate(passages, 1):
            items = [*self.items(passage, self.questions), *self.restatements(passage, self.rewrites)]
            self.report.asked += self.questions + self.rewrites
            self.report.kept.update(item.kind for item in items)
            made.append(items)
            if self._progress:
                self._progress("augment", done, len(passages))
        self.report.passages += len(passages)
        self.report.seconds += time.perf_counter() - started
        return made

    def items(self, passage: Passage, limit: int) -> list[TrainingItem]:
        """Returns at most `limit` question items of one passage."""
        if not limit:
            return []
        chosen = choose(passage, list(candidates(passage)), limit, self.seed, self.report)
        if len(chosen) < FEW:
            kept, _ = validate(list(continuations(passage, min(limit, 2 * FEW) - len(chosen))), passage)
            chosen += kept
        return chosen

    def restatements(self, passage: Passage, limit: int) -> list[TrainingItem]:
        """Returns at most `limit` rewrites of one passage."""
        return rewritten(passage, limit, self.report) if limit else []


def candidates(passage: Passage) -> Iterator[Candidate]:
    """Yields everything the rules can ask of a passage, not yet validated."""
    about = topic(passage)
    people = people_in(passage.text) | people_in(passage.title)
    if about.is_person:
        people |= {part for part in about.name.split() if part[:1].isupper() and len(part) > 2}
    first = True
    for statement in statements(passage, about):
        made = list(relations(statement, about))
        made = made or list(entries(statement, about, passage))
        yield from made
        if statement.resolved and not made:
            yield from facts(statement, about, people, first=first)
            yield from asked(statement, about, people)
        first = first and not statement.about_topic
