"""Checks training items against their passage: a wrong item teaches a falsehood.

An item is kept if its answer stands in the passage, if its question says what it is about without giving the answer
away, and if it is not there already. Long kinds (`rewrite`, `summary`, `passage`) have rules of their own. Order
decides between duplicates: the first is kept. Knows nothing of how items were made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..types import Passage, TrainingItem
from .words import Word, contains, content_forms, find, forms, word_set, words

MAX_ANSWER_WORDS = 12
LONG_KINDS = ("rewrite", "summary", "passage")
KINDS = ("qa", "cloze", *LONG_KINDS)

_NEAR = 0.9  # token Jaccard of two questions with one answer above which they are the same question
_POLAR = ("yes", "no")
_PRONOUNS = word_set(
    "he she it they him her them his hers its their theirs this these those we us our you your i me my"
)
_WEAK = word_set("of in on at by for from to with and or is are was were what who which how when where")
_DANGLING = word_set(
    "a an the of and or but to in by with for from on at as is are was were his her its their than that which"
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An item that was left out."""

    item: TrainingItem
    """As it was proposed."""
    reason: str
    """One of a small set of phrases, fit for counting."""


def validate(items: Sequence[TrainingItem], passage: Passage) -> tuple[list[TrainingItem], list[Rejected]]:
    """Returns the items that hold, with their spans resolved, and those that do not, with reasons; both in order."""
    parts = words(passage.text)
    kept: list[TrainingItem] = []
    rejected: list[Rejected] = []
    seen = _Seen()
    for item in items:
        reason = _long_fault(item, passage) if item.kind in LONG_KINDS else _short_fault(item, passage, parts)
        reason = reason or seen.fault(item)
        if reason:
            rejected.append(Rejected(item, reason))
            continue
        seen.add(item)
        span = None if item.kind in LONG_KINDS else find(item.answer, passage.text, parts)
        kept.append(replace(item, question=item.question.strip(), answer=item.answer.strip(), span=span))
    return kept, rejected


def _short_fault(item: TrainingItem, passage: Passage, parts: Sequence[Word]) -> str:
    question, answer = forms(item.question), forms(item.answer)
    if item.passage_id != passage.id:
        return "belongs to another passage"
    if item.kind not in KINDS:
        return "unknown kind"
    if not question:
        return "question is empty"
    if not answer:
        return "answer is empty"
    if len(answer) > MAX_ANSWER_WORDS:
        return "answer is too long"
    polar = len(answer) == 1 and answer[0] in _POLAR
    if not polar and find(item.answer, passage.text, parts) is None:
        return "answer is not in the passage"
    if not polar and contains(item.question, item.answer):
        return "question holds the answer"
    return _ending_fault(item) or _subject_fault(item, passage, parts)


def _ending_fault(item: TrainingItem) -> str:
    text = item.question.strip()
    last = forms(text)[-1]
    if text[-1] in ",;(-–—" or text.endswith("..."):
        return "question is unfinished"
    if item.kind == "qa" and text[-1] not in "?？:." and (last in _DANGLING or _opens_with_wh(text)):
        return "question is unfinished"
    return ""


def _opens_with_wh(text: str) -> bool:
    return forms(text)[0] in ("what", "who", "whom", "whose", "which", "where", "when", "why", "how")


def _subject_fault(item: TrainingItem, passage: Passage, parts: Sequence[Word]) -> str:
    """A closed-book question must say what it is about, and before it says `he`."""
    about = content_forms(item.question)
    title = content_forms(passage.title)
    if not about & (title | {part.form for part in parts}):
        return "question does not name its subject"
    titled = set(forms(passage.title))
    for at, word in enumerate(words(item.question)):
        text = item.question[word.start : word.end]
        if word.form in titled - _WEAK or text[0].isdigit() or (at > 0 and text[0].isupper() and text != "I"):
            return ""
        if at == 0 and text[0].isupper() and word.form not in _PRONOUNS and _is_name(text, passage):
            return ""
        if word.form in _PRONOUNS:
            return "question has a bare pronoun"
    return ""


def _is_name(text: str, passage: Passage) -> bool:
    """Whether a capitalised word that opens a question also stands capitalised, and never small, in the passage."""
    whole = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
    small = re.compile(rf"(?<!\w){re.escape(text.lower())}(?!\w)")
    return bool(whole.search(passage.text)) and not small.search(passage.text)


class _Seen:
    """Questions kept so far."""

    def __init__(self) -> None:
        self._questions: set[tuple[str, ...]] = set()
        self._by_answer: dict[tuple[str, ...], list[frozenset[str]]] = {}

    def fault(self, item: TrainingItem) -> str:
        key, answer = self._keys(item)
        if key in self._questions:
            return "duplicate"
        if item.kind in LONG_KINDS:
            return ""
        mine = frozenset(key)
        for other in self._by_answer.get(answer, ()):
            if len(mine & other) > _NEAR * len(mine | other):
                return "near duplicate"
        return ""

    def add(self, item: TrainingItem) -> None:
        key, answer = self._keys(item)
        self._questions.add(key)
        self._by_answer.setdefault(answer, []).append(frozenset(key))

    def _keys(self, item: TrainingItem) -> tuple[tuple[str, ...], tuple[str, ...]]:
        answer = forms(item.answer)
        return ((item.kind, *answer) if item.kind in LONG_KINDS else forms(item.question)), answer


def _long_fault(item: TrainingItem, passage: Passage) -> str:
    """`passage` is a copy of (a part of) the text; the others must keep to its names and numbers."""
    if item.passage_id != passage.id:
        return "belongs to another passage"
    answer = forms(item.answer)
    if not item.question.strip():
        return "question is empty"
    if not answer:
        return "answer is empty"
    source = forms(passage.text)
    if item.kind == "passage":
        return "" if contains(passage.text, item.answer) else "is no part of the passage"
    known = set(source) | set(forms(passage.title))
    if any(form[0].isdigit() and form not in known for form in answer):
        return "has a number that is not in the passage"
    if item.kind == "summary":
        about = content_forms(item.answer)
        if len(answer) >= len(source):
            return "summary is no shorter than the passage"
        return "" if 2 * len(about & known) >= len(about) else "summary is not about the passage"
    if answer == source:
        return "rewrite is the passage itself"
    marks = named_forms(passage.text)
    if 2 * len(marks & set(answer)) < len(marks):
        return "rewrite loses most names and numbers"
    if len(answer) > 3 * len(source) + 30 or 4 * len(answer) < len(source):
        return "rewrite has the wrong length"
    return ""


def named_forms(text: str) -> set[str]:
    """Returns the forms of a text's numbers and capitalised words, those left out that only open a sentence."""
    marks: set[str] = set()
    opening: set[str] = set()
    for word in words(text):
        if text[word.start].isdigit():
            marks.add(word.form)
        elif text[word.start].isupper():
            before = text[: word.start].rstrip(" \t\"'“‘(")
            (opening if not before or before[-1] in ".!?:\n" else marks).add(word.form)
    return marks or opening
