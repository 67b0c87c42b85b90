"""Markdown to text with headings. The text stays as written, code and links included; only headings are understood."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .sections import Heading, Text

_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=[\w-]+[ \t]*:)(?:.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})[ \t]*$")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_STARS = re.compile(r"\*+(?=\S)|(?<=\S)\*+")  # emphasis; underscores stay, for they belong to names more often
_ATTRIBUTES = re.compile(r"\{[#.][^{}]*\}$")


def read_markdown(text: str) -> Text:
    """Finds front matter, headings (`# ...` and underlined) and the title: from front matter, else a leading heading.

    Follows https://spec.commonmark.org/0.31.2/ for headings and fences, except that an underlined heading is one line
    long and follows a blank line, so that a table's rule is not taken for one.
    """
    front = _FRONT_MATTER.match(text)
    start = front.end() if front else 0
    headings = tuple(_headings(text, start))
    named = _FRONT_TITLE.search(front[0]) if front else None
    if named:
        title = named[1].strip("\"'")
    elif headings and (headings[0].level == 1 or not text[start : headings[0].start].strip()):
        title = headings[0].name
    else:
        title = ""
    return Text(title, text, headings, start)


def _headings(text: str, start: int) -> Iterator[Heading]:
    fence = ""
    before, previous = "", ""  # the two lines above, as far as they are running text
    position = start
    for line in text[start:].split("\n"):
        end = min(position + len(line) + 1, len(text))
        running = ""
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif mark:
            fence = mark[1]
        elif atx := _ATX.match(line):
            if name := _plain(atx[2] or ""):
                yield Heading(len(atx[1]), name, position, end)
        elif (underline := _UNDERLINE.match(line)) and previous.strip() and not before.strip():
            level = 1 if underline[1][0] == "=" else 2
            yield Heading(level, _plain(previous), position - len(previous) - 1, end)
        else:
            running = line
        before, previous = previous, running
        position = end


def _plain(heading: str) -> str:
    """Takes the markup off a heading."""
    name = heading.strip()
    open_end = name.rstrip("#")
    if not open_end or open_end[-1] in " \t":  # `## Heading ##`
        name = open_end.rstrip()
    name = _LINK.sub(r"\1", _ATTRIBUTES.sub("", name))
    return " ".join(_STARS.sub("", name.replace("`", "")).split())
