"""Text -> the spans worth asking for: dates, years, numbers, quoted titles, names and lists of names.

Works by capital letters and digits, without a language model: a span that is doubtful is left out, since a question
for half a name teaches half a name. Knows nothing of questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from .lexicon import (
    DEMONYMS,
    GIVEN_NAMES,
    HONORIFICS,
    MONTHS,
    NOT_PERSON,
    NUMBER_WORDS,
    OCCUPATIONS,
    SMALL_WORDS,
    is_verb,
)
from .words import word_set

Kind = Literal["date", "year", "number", "quote", "name", "person", "list", "phrase"]

_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_NUMERIC = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_DATE = re.compile(
    rf"\b(?:{_DAY}(?: of)? (?:{MONTHS}),? \d{{3,4}}|(?:{MONTHS}) {_DAY},? \d{{4}}|(?:{MONTHS}),? \d{{4}}"
    rf"|{_DAY} (?:{MONTHS})|(?:{MONTHS}) {_DAY}|\d{{4}}-\d{{2}}-\d{{2}})\b(?!-)"
)
_YEAR = re.compile(r"(?<![\w.,$£€–-])(?:1\d{3}|20\d{2})(?![\w%]|[.,–-]\d| (?:million|billion|people|men|metres|feet))")
_YEAR_BEFORE = re.compile(
    r"(?:\b(?:in|since|from|to|until|till|by|of|during|around|circa|early|late|mid|after|before|and|for)|,|–)\s$", re.I
)
_NUMBER = re.compile(
    rf"(?<![\w.,/–-])(?:[$£€]\s?)?{_NUMERIC}(?:\s?%| percent\b| per cent\b)?"
    rf"(?: (?:thousand|million|billion|trillion)\b)?(?![\w/–-]|[.,:]\d)"
    rf"|\b(?i:{'|'.join(sorted(NUMBER_WORDS))})(?: (?:hundred|thousand|million|billion))?(?= (?:[a-z-]+ )?[a-z]+s\b)"
)
_QUOTE = re.compile(r"“([^“”\n]{2,60})”|(?<!\w)\"([^\"\n]{2,60})\"(?!\w)")
_PHRASE = re.compile(
    r"(?<= )(the|an?|its|his|her|their|with|of|by|from|into|on|in|for|as|through|against|is|are|was|were|became"
    r"|has|have|had|include|includes|uses|called) (?:an? |the |its |his |her |their )?"
    r"((?:[a-z][a-z-]+ ){0,3}[a-z][a-z-]{2,})"
    r"(?=[,;.]|$| (?:and|or|of|in|on|at|by|for|from|with|which|who|as|but|while|when|where|because|to|than|is|"
    r"are|was|were)\b)"
)
_CAPITAL = r"(?:[A-Z]\.(?:[A-Z]\.)*|[^\W\d_a-z][\w'’-]*)"  # checked for a true capital below: \w has no upper class
_JOIN = r"(?:of the|of|de la|de|von|van der|van|di|da|du|del|la|le|al|el|bin|ibn|y|&|for the|for)"
_NAME = re.compile(
    rf"(?<![\w-]){_CAPITAL}(?:(?: {_JOIN})? (?:{_CAPITAL}|(?<=[a-z] )\d{{1,4}}(?![\w,.])))*"
    rf"(?: of \d{{4}}\b)?"
)
_NO_PHRASE = SMALL_WORDS | word_set(
    "everyone someone anyone everything something anything nothing itself himself herself themselves order general "
    "fact particular addition part time times way ways example them him me us able likely due able well known been "
    "being made done seen given taken found held born built set put what how why own one ones first last same "
    "different new old large small great high low good case number name result lot kind type form term use it "
    "include involve provide remain contain become consist cause "
    "indicate decide make take responsible available capable similar equal such"
)
_NOT_ALONE = frozenset(f"{MONTHS}|I|II|III|IV|V|VI|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday".split("|"))


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a statement that can be an answer."""

    start: int
    """Offset of its first character."""
    end: int
    """Offset after its last character."""
    kind: Kind
    """What it is; `name` is a name of anything, `person` of a person, `phrase` common nouns after a small word."""
    modifier: bool = False
    """Whether it qualifies the word after it (`the Gothic painter`), so that it cannot be asked for by itself."""


def spans(text: str, people: frozenset[str] = frozenset()) -> list[Span]:
    """Returns the spans of a statement, in order, none overlapping another.

    Args:
        text: one sentence.
        people: words known to be of persons' names, as from `people_in`.
    """
    found: list[Span] = []

    def free(start: int, end: int) -> bool:
        return all(end <= other.start or start >= other.end for other in found)

    for match in _QUOTE.finditer(text):
        group = 1 if match[1] else 2
        if text[match.start(group)].isupper() and len(match[group].split()) <= 8:
            found.append(Span(match.start(group), match.start(group) + len(match[group].rstrip(",.")), "quote"))
        else:
            found.append(Span(match.start(), match.end(), "quote", modifier=True))
    for match in _DATE.finditer(text):
        if free(*match.span()):
            found.append(Span(*match.span(), "date"))
    for span in _names(text, people):
        if free(span.start, span.end):
            found.append(span)
    for match in _YEAR.finditer(text):
        if free(*match.span()) and _YEAR_BEFORE.search(text[: match.start()]):
            found.append(Span(*match.span(), "year"))
    for match in _NUMBER.finditer(text):
        if free(*match.span()):
            found.append(Span(*match.span(), "number"))
    for match in _PHRASE.finditer(text):
        tail = match[2].lower().split()
        plain = not any(word in _NO_PHRASE or is_verb(word) or word.endswith(("ly", "ing")) for word in tail)
        alone = match[1] in ("with", "of", "by", "from", "into") and len(tail[0]) > 4
        if plain and free(*match.span(2)) and (len(tail) > 1 or alone):
            found.append(Span(*match.span(2), "phrase"))
    return sorted(found, key=lambda span: span.start)


def people_in(text: str) -> frozenset[str]:
    """Returns the words of names that the text shows to be persons'."""
    found: set[str] = set()
    for match in _NAME.finditer(text):
        name = match[0]
        before = text[: match.start()].rstrip().rsplit(" ", 1)[-1].lower()
        if is_person(name) or (before in OCCUPATIONS and len(name.split()) > 1):
            found.update(part for part in name.split() if part[:1].isupper() and len(part) > 2)
    return frozenset(found - HONORIFICS)


def is_person(name: str, people: frozenset[str] = frozenset()) -> bool:
    """Whether a name is surely a person's."""
    parts = name.split()
    if any(part.lower().strip(".,") in NOT_PERSON for part in parts) or parts[-1] in DEMONYMS:
        return False
    if parts[0].rstrip(".") in HONORIFICS and len(parts) > 1:
        return True
    if len(parts) > 1 and (parts[0] in GIVEN_NAMES or re.fullmatch(r"(?:[A-Z]\.)+", parts[-2])):
        return len(parts) <= 5
    return parts[-1] in people and len(parts) <= 4


def _names(text: str, people: frozenset[str]) -> Iterator[Span]:
    singles = [span for match in _NAME.finditer(text) if (span := _name(text, match.start(), match.end(), people))]
    at = 0
    while at < len(singles):
        end = at + 1
        while end < len(singles) and re.fullmatch(r",? and |, | or ", text[singles[end - 1].end : singles[end].start]):
            end += 1
        group = singles[at:end]
        joined = text[group[0].start : group[-1].end]
        if len(group) == 1:
            yield group[0]
        elif re.search(r" (?:and|or) ", joined[len(text[group[0].start : group[-2].end]) :]):
            yield Span(group[0].start, group[-1].end, "list", any(span.modifier for span in group))
        elif len(group) <= 3 and _is_place(text, group):
            yield Span(group[0].start, group[-1].end, "name")  # Paris, Texas
        else:
            yield from (replace(span, modifier=True) for span in group)
        at = end


def _is_place(text: str, group: list[Span]) -> bool:
    """Whether names with commas between them are a place within a place, not a list."""
    before = text[: group[0].start].rstrip().removesuffix(" the").rsplit(" ", 1)[-1].lower()
    after = re.match(r"\s*([.,;:]|$|(?:who|which|where|that|and|on|during|as|to|when|by|in)\b)", text[group[-1].end :])
    return before in ("in", "from", "at", "near", "of", "to") and bool(after) and all(s.kind == "name" for s in group)


def _name(text: str, start: int, end: int, people: frozenset[str]) -> Span | None:
    """Judges a run of capitalised words; takes a small word off its head, and a possessive off its end."""
    if not text[start].isupper():
        return None
    first = text[start:end].split(" ", 1)
    opens = start == 0 or text[:start].rstrip()[-1:] in ":;"
    if (first[0].lower() in SMALL_WORDS and (opens or len(first) == 1)) or (
        opens and first[0].lower().endswith("ly") and len(first) > 1
    ):
        if len(first) == 1:
            return None
        start += len(first[0]) + 1
        if not text[start].isupper():
            return None
        opens = False
    head = text[start:end].split(" ", 1)
    if len(head) == 2 and head[0].lower() in OCCUPATIONS and head[1][:1].isupper() and opens:
        start += len(head[0]) + 1
    name = text[start:end]
    possessive = re.search(r"['’]s?$", name)
    if possessive:
        end, name = start + possessive.start(), name[: possessive.start()]
    if text[end : end + 1] == "/" or text[end : end + 1].isalnum() or text[start - 1 : start] in ("/", "#", "@"):
        return None
    if len(name) < 2 or name in _NOT_ALONE or name.rstrip(".") in HONORIFICS:
        return None
    if opens and " " not in name and name not in people and name not in text[end:]:
        return None  # may be any word that opens a sentence
    following = re.match(r"[ ]+([\w-]+)", text[end:])
    modifier = bool(possessive) or bool(following and _is_noun(following[1]))
    if " " not in name and (name in DEMONYMS or name.rstrip("s") in DEMONYMS):
        return Span(start, end, "name", modifier=True)
    return Span(start, end, "person" if is_person(name, people) else "name", modifier)


def _is_noun(word: str) -> bool:
    """Whether a word after a name is, as far as can be seen, a noun that the name qualifies."""
    if word[0].isdigit():
        return True
    small = word in SMALL_WORDS or word.endswith(("ed", "ly", "ing", "ized")) or not word[0].islower()
    return not small


def span_at(found: list[Span], start: int) -> Span | None:
    """Returns the span that starts at an offset, a leading article or bracket apart."""
    return next((span for span in found if span.start == start), None)
