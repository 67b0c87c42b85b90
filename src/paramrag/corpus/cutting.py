"""Cuts running text into passages of about so many words, at sentence ends.

Use it for any text; it knows nothing of files and formats. Spans are exact: `text[p.start:p.end] == p.text`. Time and
memory grow linearly with the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import ConfigError
from ..types import Passage
from .sentences import TERMINATORS, sentences

CUTTER_VERSION = "1"
"""Part of every document's fingerprint: raise it when the same text would be cut differently."""

# Scripts written without spaces count by the character (Chinese, Japanese) or by about a syllable (Thai, Lao, Burmese,
# Khmer); endless runs such as base64 count by 32 characters, so that no passage grows without bound.
_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_THAI = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(rf"[{_HAN}]|[{_THAI}]{{1,5}}|[^\s{_HAN}{_THAI}]{{1,32}}")
_NO_SPACES = re.compile(rf"[{_HAN}{_THAI}]")

_LONGEST_RUN = 32  # times `words`: a paragraph beyond is taken in runs of this length, to bound memory

Span = tuple[int, int, int]  # start, end, words


def cut(text: str, *, title: str = "", words: int = 100) -> tuple[Passage, ...]:
    """Cuts text into passages of about `words` words, each of them whole sentences.

    Passages end with paragraphs where lengths allow it and share what must be divided evenly. If there is more than
    one, none is shorter than a third of `words`. A sentence is divided only if it is longer than twice `words`, at the
    end of a clause if there is one. Passages are in order, do not overlap, and leave out nothing but white space.

    Raises:
        ConfigError: if `words` is less than 1.
    """
    if words < 1:
        raise ConfigError(f"words is {words}; expected at least 1, for example 100")
    return tuple(Passage(text[start:end], title, start, end) for start, end, _ in _spans(text, words))


def word_count(text: str, start: int = 0, end: int | None = None) -> int:
    """Counts words; in scripts without spaces, Han and kana characters or syllables."""
    return sum(1 for _ in _WORD.finditer(text, start, len(text) if end is None else end))


def _spans(text: str, words: int) -> Iterator[Span]:
    """Gathers paragraphs into groups near the wanted length; yields each group's balanced parts."""
    held: list[Span] = []  # the finished group, kept back because it takes in a short tail
    group: list[Span] = []
    size = 0
    for paragraph in _paragraphs(text, words):
        added = _total(paragraph)
        full = 3 * size >= 2 * words or (3 * size >= words and 2 * (size + added) > 3 * words)
        if group and full:
            yield from _balanced(held, words)
            held, group, size = group, [], 0
        group.extend(paragraph)
        size += added
    if 3 * size < words:
        held, group = [], held + group
    yield from _balanced(held, words)
    yield from _balanced(group, words)


def _paragraphs(text: str, words: int) -> Iterator[list[Span]]:
    """Yields paragraphs as lists of sentences, none longer than twice `words`."""
    paragraph: list[Span] = []
    size = 0
    for start, end, opens in sentences(text):
        if paragraph and (opens or size >= _LONGEST_RUN * words):
            yield paragraph
            paragraph, size = [], 0
        count = word_count(text, start, end)
        paragraph.extend(_clauses(text, (start, end, count), words) if count > 2 * words else [(start, end, count)])
        size += count
    if paragraph:
        yield paragraph


def _clauses(text: str, sentence: Span, words: int) -> Iterator[Span]:
    """Divides one overlong sentence into pieces near `words`, each at the best break within a quarter of its length."""
    start, end, count = sentence
    while 2 * count > 3 * words:
        wanted = count / round(count / words)
        best: tuple[int, float, int, int] | None = None
        for used, word in enumerate(_WORD.finditer(text, start, end), 1):
            if used < 0.75 * wanted:
                continue
            if best and used > 1.25 * wanted:
                break
            offer = (_break_rank(text, word.end()), abs(used - wanted), word.end(), used)
            best = min(best, offer) if best else offer
        assert best is not None  # count > wanted, so some word lies beyond the lower limit
        yield start, best[2], best[3]
        following = _WORD.search(text, best[2], end)
        assert following is not None  # words are left, for best lies before the last quarter
        start = following.start()
        count -= best[3]
    yield start, end, count


def _break_rank(text: str, position: int) -> int:
    """Returns how bad a break is: 0 after a terminator, 1 clause or line, 2 comma, 3 between words, 4 inside a run."""
    before, after = text[position - 1], text[position : position + 1]
    if before in TERMINATORS:
        return 0
    if before in ";:；：—–" or after == "\n":
        return 1
    if before in ",，、،":
        return 2
    return 3 if not after or after.isspace() or _NO_SPACES.match(before) or _NO_SPACES.match(after) else 4


def _balanced(group: list[Span], words: int) -> list[Span]:
    """Joins a group's sentences into parts of about equal length; parts under a third of `words` join a neighbour."""
    size = _total(group)
    count = 1 if 2 * size <= 3 * words else round(size / words)
    parts: list[Span] = []
    before, open_part = 0, -1
    for start, end, length in group:
        part = int((before + length / 2) * count / size)  # the part in which the middle of the sentence falls
        before += length
        if part == open_part:
            parts[-1] = (parts[-1][0], end, parts[-1][2] + length)
        else:
            parts.append((start, end, length))
            open_part = part
    joined: list[Span] = []
    for index, (start, end, length) in enumerate(parts):
        following = parts[index + 1][2] if index + 1 < len(parts) else size
        if joined and (3 * joined[-1][2] < words or (3 * length < words and joined[-1][2] <= following)):
            joined[-1] = (joined[-1][0], end, joined[-1][2] + length)
        else:
            joined.append((start, end, length))
    return joined


def _total(spans: list[Span]) -> int:
    return sum(length for _, _, length in spans)
