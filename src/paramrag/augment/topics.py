"""Passage -> its topic: the one thing that it is about, how it is called, and whether it is a person."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..types import Passage
from .lexicon import GIVEN_NAMES, NOT_PERSON, OCCUPATIONS, PERSON_ROLES, SMALL_WORDS
from .pieces import BRACKET, pieces

_COPULA = re.compile(r"(?:, [^,]{2,60},)?\s*,?\s*(is|was|are|were)\s+(?:a|an|the|one of the)\s+")
_DEFINED = re.compile(
    r"(?:The )?((?:[^\s,;:.]{1,40}(?:\.)? ){0,6}[^\s,;:.]{1,40})(?:, [^,]{2,60},| ?,)?"
    r" (?:is|was|are|were) (?:a|an|the|one)\b"
)
_LINKS = frozenset(("of", "the", "de", "von", "and", "van", "for", "in", "du", "la"))
_PARTICLES = frozenset(("of", "de", "von", "van", "der", "la", "del", "di", "da", "du", "bin", "al", "ap", "y"))
_DATES = re.compile(r"\(\s*(?:[^()]*\bborn\b|(?:c\. )?\d{3,4}\s*[–-]\s*(?:c\. )?\d{3,4})")
_PERSONAL_SENTENCE = re.compile(r"(?:^|[.!?]\s)(?:He|She|His|Her) ")


@dataclass(frozen=True, slots=True)
class Topic:
    """What a passage is about."""

    name: str
    """As it is called in questions; empty if not known."""
    is_person: bool = False
    """Whether it is surely a person."""
    aliases: tuple[str, ...] = ()
    """Other names under which sentences begin with it, longest first."""
    nouns: frozenset[str] = frozenset()
    """Nouns that stand for it after `the`."""
    mentioned: bool = False
    """Whether the passage's first sentence is about it."""
    article: bool = False
    """Whether it takes `the`."""

    @property
    def named(self) -> str:
        """Its name within a sentence."""
        return f"the {self.name}" if self.article else self.name

    @property
    def subject(self) -> str:
        """Its name at the start of a sentence."""
        return f"The {self.name}" if self.article else self.name


def topic(passage: Passage) -> Topic:
    """Finds out what the passage is about, from its title and first sentence."""
    title = re.sub(r"\s*\([^)]*\)\s*$", "", re.split(r"\s+-(?:\s+|$)", passage.title)[0]).strip()
    first = next((part for part in pieces(passage.text) if not part.startswith("#")), "")
    bare = BRACKET.sub("", first)
    head, nouns = _head(bare), frozenset[str]()
    name = title or head
    if not name:
        return Topic("")
    same = bool(head) and _same(head, name)
    aliases = [name] + ([head] if same and head != name else [])
    mentioned = bare.startswith((*aliases, *(f"The {alias}" for alias in aliases)))
    defined = ""
    if same and (copula := _COPULA.match(bare, bare.find(head) + len(head))):
        defined = re.split(
            r"[,;.]| (?:in|of|by|from|who|that|which|located|known|for|with|on|at|to|between|is|are|have|has|given|"
            r"and the)\b",
            bare[copula.end() :],
        )[0]
        nouns = frozenset(part.split()[-1] for part in re.split(r" and | or ", defined.lower()) if part.split())
    parts = name.split()
    person = _is_person(name, defined, nouns, first, passage.text)
    if person and len(parts) > 1 and parts[-1][0].isupper() and not re.search(r" (?:of|the) |,", name):
        aliases.append(parts[-1])
    article = not person and not name.startswith("The ") and any(bare.startswith(f"The {a} ") for a in aliases)
    return Topic(name, person, tuple(sorted(set(aliases), key=len, reverse=True)), nouns, mentioned, article)


def _is_person(name: str, defined: str, nouns: frozenset[str], first: str, text: str) -> bool:
    """Whether the topic is surely a person: by what the text calls it, by its dates, else by its form."""
    parts = name.split()
    named = [part.lower().strip(".,") for part in parts if part not in _PARTICLES]
    if not named or set(named) & NOT_PERSON or not all(part[0].isupper() or part in _PARTICLES for part in parts):
        return False
    if defined:
        return bool(nouns & PERSON_ROLES) or any(word in OCCUPATIONS for word in defined.lower().split()[-3:])
    if _DATES.search(first) or " was born " in first:
        return True
    if len(parts) < 2:
        return False
    return parts[0] in GIVEN_NAMES or (bool(_PERSONAL_SENTENCE.search(text)) and parts[-1] in text)


def _head(text: str) -> str:
    """Returns the name before `is a`, if the sentence opens with one."""
    match = _DEFINED.match(text)
    if not match:
        return ""
    parts = match[1].split()
    if not parts[0][0].isupper() or parts[0].lower() in SMALL_WORDS:
        return ""
    return match[1] if all(part[0].isupper() or part in _LINKS for part in parts) else ""


def _same(head: str, name: str) -> bool:
    """Whether a title and the name with which the text opens are of one thing."""
    if re.match(r"(?:List|Outline|Timeline|Index|Glossary|History) of ", name):
        return False
    mine, other = set(head.lower().split()), set(name.lower().split())
    return 2 * len(mine & other) >= max(len(mine), len(other))
