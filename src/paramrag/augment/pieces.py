"""Passage text -> its sentences, list entries and headings, one at a time."""

from __future__ import annotations

import re

from ..corpus.sentences import sentences

BRACKET = re.compile(r"\s*(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\)|\[([^\[\]]*)\])")
_KEY = re.compile(r"[A-Z][\w ]{1,30}: \S")


def pieces(text: str) -> list[str]:
    """Returns sentences, list entries and headings (these with their `#`), each on one line."""
    found: list[str] = []
    for start, end, _ in sentences(text):
        held: list[str] = []
        for line in text[start:end].split("\n"):
            stripped = re.sub(r"^\s*(?:[-*+•‣▪]|\d{1,3}[.)])\s+", "", line).strip()
            own = stripped != line.strip() or stripped.startswith(("#", "|")) or bool(_KEY.match(stripped))
            if own and held:
                found.append(" ".join(held))
                held = []
            if own:
                found.append(stripped)
            elif stripped:
                held.append(stripped)
        if held:
            found.append(" ".join(held))
    return [part for whole in found for part in _entries(whole) if part]


def _entries(text: str) -> list[str]:
    """Divides a list written with ` ; `, but not inside brackets."""
    bare = BRACKET.sub(lambda match: "x" * len(match[0]), text)
    cuts = [match.span() for match in re.finditer(r"\s+;\s+", bare)]
    starts, ends = [0] + [end for _, end in cuts], [start for start, _ in cuts] + [len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
