"""Finds sentences and paragraphs in running text, in one pass and without a model.

Rules, not statistics: a terminator ends a sentence where white space and no lower-case letter follow, unless it belongs
to an abbreviation, an initial or a list number. A wrongly joined pair of sentences costs little, a sentence torn in two
loses a fact; doubtful cases are therefore joined. Knows English abbreviations; other languages get the general rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

TERMINATORS = ".!?…؟۔।॥。！？｡"
_WIDE = frozenset("。！？｡")  # end a sentence with no space after them
_CLOSERS = "\"'”’»›)}」』）】》\\]"
_OPENERS = "\"'“‘«‹„¿¡({「『（【《\\["

# A run of terminators is always consumed whole and judged afterwards: a conditional pattern would be tried again at
# every character of a long run of dots, which is quadratic.
_EVENT = re.compile(
    rf"[{TERMINATORS}]++[{_CLOSERS}]*+"
    r"|\n[^\S\n]*+\n\s*+"  # blank line: a paragraph ends
    r"|\n(?=[^\S\n]*+(?:[-*+•‣▪]|\d{1,3}[.)])[^\S\n])"  # list item
)
_NEXT = re.compile(rf"\s*+[{_OPENERS}]*+(\w{{0,16}})")
_ACRONYM = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}")  # U.S, J.K, Ph.D, a.m (the last dot is the terminator)
_REACH = 24  # characters looked at before a dot


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_NEVER_END = _words(
    "mr mrs ms dr prof messrs mme mlle gen col capt cpt lt sgt maj cmdr adm rev hon gov sen rep pres supt "
    "e.g i.e eg ie cf vs viz approx ca"
)
_JOIN_NUMBERS = _words(
    "no nos vol vols p pp fig figs eq eqs sec ch chap art c v ver jan feb mar apr jun jul aug sep sept oct nov dec "
    "op tab ref para"
)
_MAY_END = _words(
    "st mt ft sr jr inc ltd co corp bros dept univ assn est ed eds al etc cit ave blvd rd hwy bldg esq dist"
)
_STARTERS = _words(
    "the this that these those there then thus a an he she it they we you his her its their our in on at as by for "
    "from with when while where after before since during although though however but and or so if because both "
    "such some many most one two another other what who why how no not now today later also meanwhile"
)


def sentences(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yields (start, end, opens): trimmed spans in order that cover all but white space; `opens` a paragraph or not."""
    start, opens = 0, True
    for event in _EVENT.finditer(text):
        blank = event[0][0] == "\n"
        if not blank and not _ends(text, start, event):
            continue
        span = _trimmed(text, start, event.start() if blank else event.end())
        if span[0] < span[1]:
            yield *span, opens
            opens = False
        opens = opens or (blank and len(event[0]) > 1)
        start = event.end()
    span = _trimmed(text, start, len(text))
    if span[0] < span[1]:
        yield *span, opens


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Returns the span without white space at its ends; empty (start == end) if there is nothing else."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())


def _ends(text: str, start: int, event: re.Match[str]) -> bool:
    """Says whether the terminators end the sentence that began at `start`."""
    run, dot, end = event[0], event.start(), event.end()
    if not _WIDE.isdisjoint(run):
        return True
    if end < len(text) and not text[end].isspace():
        return False
    following = _NEXT.match(text, end)
    word = following[1] if following else ""
    if word[:1].islower():
        return False
    if run[0] != "." or (len(run) > 1 and run[1] in TERMINATORS):
        return True
    tokens = text[max(start, dot - _REACH) : dot].split()
    token = tokens[-1].lstrip("\"'“‘«([") if tokens else ""
    if token.isdigit() and len(token) <= 3 and len(tokens) == 1 and dot - start <= _REACH:
        return False  # "1. Open the lid"
    lower = token.lower()
    if lower in _NEVER_END:
        return False
    if lower in _JOIN_NUMBERS:
        return not word[:1].isdigit() and (len(token) > 1 or word.lower() in _STARTERS)
    if lower in _MAY_END or (len(token) == 1 and token.isalpha()) or _ACRONYM.fullmatch(token):
        return not word or word.lower() in _STARTERS
    return True
