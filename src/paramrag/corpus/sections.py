"""A text with headings, as the format readers hand it over, and its way into passages.

Each passage of a section carries the title `Document: Heading: Subheading`, so that it is found and understood alone.
Spans are offsets into the whole text. Headings stand in titles, not in passages, except where short neighbouring
sections are kept together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..types import Passage
from .cutting import cut, word_count


class Heading(NamedTuple):
    """A heading in a text."""

    level: int
    """1 for the outermost."""
    name: str
    """What it says."""
    start: int
    """Offset of its first character."""
    end: int
    """Offset after it, where its section's body starts."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a format reader makes of one source."""

    title: str
    """Title of the document; empty if the content has none."""
    body: str
    """The text that spans refer to."""
    headings: tuple[Heading, ...] = ()
    """Headings in order."""
    start: int = 0
    """Where reading starts, behind front matter."""
    notes: tuple[str, ...] = ()
    """What could not be read, where the rest could."""


class _Section(NamedTuple):
    title: str
    start: int  # with the heading
    body: int
    end: int
    words: int


def cut_text(text: Text, title: str, words: int) -> tuple[Passage, ...]:
    """Cuts a text at its headings and then at sentence ends; neighbours too short to stand alone stay together."""
    found: list[Passage] = []
    for group in _groups(_sections(text, title), words):
        first, last = group[0], group[-1]
        if len(group) > 1:
            start, end = _stripped(text.body, first.start, last.end)
            found.append(Passage(text.body[start:end], title, start, end))
            continue
        for passage in cut(text.body[first.body : first.end], title=first.title, words=words):
            found.append(_moved(passage, first.body))
    if found:
        return tuple(found)
    whole = cut(text.body[text.start :], title=title, words=words)  # nothing but headings
    return tuple(_moved(passage, text.start) for passage in whole)


def _sections(text: Text, title: str) -> Iterator[_Section]:
    """Yields the stretches between headings, titled with the headings above them.

    Leaves out an empty stretch before the first heading or a subheading: its own heading lives on in titles below it.
    """
    path: list[Heading] = []
    start = body = text.start
    for heading in [*text.headings, None]:
        end = heading.start if heading else len(text.body)
        names = [entry.name for entry in path]
        if names and names[0] == title:
            del names[0]
        size = word_count(text.body, body, end)
        if size or (path and not (heading and heading.level > path[-1].level)):
            yield _Section(_joined([title, *names]), start, body, end, size)
        if heading:
            path = [entry for entry in path if entry.level < heading.level] + [heading]
            start, body = heading.start, heading.end


def _groups(sections: Iterable[_Section], words: int) -> Iterator[list[_Section]]:
    """Joins a section under a third of `words` to its neighbour while both together are no longer than `words`."""
    group: list[_Section] = []
    size = 0
    for section in sections:
        if group and 3 * min(size, section.words) < words and size + section.words <= words:
            group.append(section)
            size += section.words
            continue
        if group:
            yield group
        group, size = [section], section.words
    if group:
        yield group


def _moved(passage: Passage, by: int) -> Passage:
    return replace(passage, start=passage.start + by, end=passage.end + by)


def _joined(names: Iterable[str]) -> str:
    return ": ".join(name.rstrip(":") for name in names if name)


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())
