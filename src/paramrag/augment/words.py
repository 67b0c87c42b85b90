"""Text -> comparable words with their places: lower case, no punctuation, no articles.

Two texts hold the same words if they differ only in case, punctuation, articles and white space. A number is one word
(`1,000` equals `1000`; `37` is not in `37.5`), a Han or kana character is one word. Knows nothing of items.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[{_HAN}]|[^\W{_HAN}\d_]+(?:\d+[^\W{_HAN}\d_]*)*")
_ARTICLES = frozenset(("a", "an", "the"))
_HYPHENS = "-\u2010\u2011"


def word_set(listed: str) -> frozenset[str]:
    """Returns the words of a list written as text."""
    return frozenset(listed.split())


STOP_WORDS = word_set(
    "a an the of in on at by for from to with and or but nor as is are was were be been being am do does did has have "
    "had what which who whom whose when where why how many much that this these those it its he she they them his her "
    "hers him their theirs we us our you your i me my not no yes can could may might must shall should will would "
    "than then there so if into about also year name called kind"
)
"""Words that say nothing of what a question is about."""


class Word(NamedTuple):
    """A word of a text."""

    form: str
    """Comparable form."""
    start: int
    """Offset of its first character in the text."""
    end: int
    """Offset after its last character."""


def words(text: str) -> list[Word]:
    """Returns the words of a text in order, articles left out."""
    found = (Word(_form(match[0]), match.start(), match.end()) for match in _WORD.finditer(text))
    return [word for word in found if word.form not in _ARTICLES]


def forms(text: str) -> tuple[str, ...]:
    """Returns the comparable forms of the words of a text."""
    return tuple(word.form for word in words(text))


def content_forms(text: str) -> set[str]:
    """Returns the forms that say what a text is about."""
    return set(forms(text)) - STOP_WORDS


def find(needle: str, text: str, parts: Sequence[Word] | None = None) -> tuple[int, int] | None:
    """Returns where the words of `needle` first stand in `text` one after the other, on word boundaries, or None.

    A word is not found inside a hyphenated one (`Jean` is not in `Jean-Paul`).

    Args:
        needle: what to look for; without a word it is not found.
        text: where to look.
        parts: `words(text)`, if the caller has them.
    """
    wanted = forms(needle)
    parts = words(text) if parts is None else parts
    if not wanted:
        return None
    size = len(wanted)
    for at in range(len(parts) - size + 1):
        if parts[at].form == wanted[0] and all(parts[at + k].form == wanted[k] for k in range(1, size)):
            start, end = parts[at].start, parts[at + size - 1].end
            if not (_cut(text, start - 1, -1) or _cut(text, end, 1)):
                return start, end
    return None


def contains(text: str, needle: str) -> bool:
    """Whether the words of `needle` stand in `text` one after the other."""
    wanted, held = forms(needle), forms(text)
    return any(held[at : at + len(wanted)] == wanted for at in range(len(held) - len(wanted) + 1)) if wanted else False


def _cut(text: str, at: int, step: int) -> bool:
    """Whether a hyphen at `at` goes on into letters: the words would be torn out of a compound."""
    beyond = at + step
    return 0 <= at < len(text) and text[at] in _HYPHENS and 0 <= beyond < len(text) and text[beyond].isalpha()


def _form(word: str) -> str:
    if word[0].isdigit():
        return word.replace(",", "")
    return unicodedata.normalize("NFC", word).lower()
