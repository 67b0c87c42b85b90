"""Proposed items, and the choice among them: good ones first, spread over sentences and answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..types import Passage, TrainingItem, content_hash
from .report import AugmentReport
from .validation import validate
from .words import forms

_SAME_ANSWER = 0.22  # what each item already chosen for an answer takes off the next one's quality
_SAME_SENTENCE = 0.07
_SAME_KIND = 0.012


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposed item."""

    question: str
    answer: str
    kind: str
    """`qa` or `cloze`."""
    quality: float
    """0 to 1: how natural and how surely right, by the rule that made it."""
    sentence: int
    """Number of the sentence it was made from."""


def choose(
    passage: Passage, candidates: Sequence[Candidate], limit: int, seed: int, report: AugmentReport
) -> list[TrainingItem]:
    """Returns at most `limit` valid items, best first; equal ones in an order that the seed decides."""
    ranked = sorted(
        candidates,
        key=lambda one: (
            0.002 * min(one.sentence, 40) - one.quality,
            content_hash(str(seed), passage.id, one.question, one.answer),
        ),
    )
    items = [TrainingItem(passage.id, one.question, one.answer, one.kind) for one in ranked]
    kept, rejected = validate(items, passage)
    report.parsed += len(items)
    report.rejected.update(entry.reason for entry in rejected)
    by_text = {(one.question.strip(), one.answer.strip()): one for one in reversed(ranked)}
    left = [(item, by_text[item.question, item.answer]) for item in kept]
    answers: Counter[tuple[str, ...]] = Counter()
    sentences: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    chosen: list[TrainingItem] = []
    while left and len(chosen) < limit:
        scores = [
            one.quality
            - _SAME_ANSWER * answers[forms(one.answer)]
            - _SAME_SENTENCE * sentences[one.sentence]
            - _SAME_KIND * kinds[one.kind]
            for _, one in left
        ]
        item, one = left.pop(scores.index(max(scores)))
        answers[forms(one.answer)] += 1
        sentences[one.sentence] += 1
        kinds[one.kind] += 1
        chosen.append(item)
    return chosen


def phrased(index: int, answer: str, quality: float, *questions: str, cloze: str = "") -> Iterator[Candidate]:
    """Yields one candidate per phrasing of a fact, the first the best; empty phrasings are left out."""
    for number, question in enumerate(filter(None, questions)):
        yield Candidate(question, answer, "qa", quality - 0.03 * number, index)
    if cloze:
        yield Candidate(cloze, answer, "cloze", quality - 0.04, index)
