"""Passage -> statements: its sentences made fit to stand alone, with their subject named.

A sentence that opens with `He`, `It` or `The city` gets the passage's topic as its subject where it is clear that the
topic is meant; where it is not, the statement is marked unresolved and nothing is asked from it. Brackets are taken
out and kept aside, an opening `In 1932,` goes to the end. Knows nothing of questions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..types import Passage
from .lexicon import (
    DEMONYMS,
    MONTHS,
    OCCUPATIONS,
    PAST_VERBS,
    SMALL_WORDS,
    is_verb,
)
from .pieces import BRACKET, pieces
from .spans import is_person
from .topics import Topic

_CONNECTIVE = re.compile(
    r"(?:(?:Moreover|However|Furthermore|Additionally|Today),?\s+|(?:In addition|Additionally|Furthermore|Therefore|"
    r"Meanwhile|For example|For instance|Thus|Hence"
    r"|As a result|Consequently|Nevertheless|Nonetheless|Also|In fact|Indeed|Similarly|Today|Currently|Later|Then"
    r"|Subsequently|Finally|Eventually|Originally|Initially|In particular|Of course|"
    r"On the other hand|At the time|At that time),\s+)"
)
_UNRESOLVED = re.compile(
    r"(?:This|These|Those|That|Such|They|Their|We|Our|I|My|You|Your|Here|There|Both|Another|Other|Others|One|Some|Each"
    r"|The (?:latter|former|same|other|others|two|first|second|third|last|next|following|above)|And|But|Or|So"
    r"|Because)\b"
)
_EXPLETIVE = re.compile(
    r"It (?:is|was|has been|had been|may be|can be) (?:\w+ ){0,3}(?:that|to|who|when|if|not until)\b"
)
_FRONTED = re.compile(r"((?:In|On|Since|By|Until|From|During|At|Around|After|Before) [^,]{2,40}), (?=\S)")
_OPENER = re.compile(
    r"((?:Founded|Born|Established|Built|Located|Situated|Based|Released|Written|Directed|Opened|Created|Designed|Raised|"
    r"Educated|Named|Formed|Published|Produced|Developed|Completed|Constructed) [^;:]{3,80}?), "
    r"(he|she|it|[A-Z][\w.'’-]*(?: [A-Z][\w.'’-]*){0,3}) ([a-z].+)"
)
_FRONT = re.compile(
    r"(?:In|On|Since|By|From|At|During|Until|After|Before|For|Today|Now|When|While|As|Almost|Nearly|Shortly|Soon|Years|"
    r"Following|Despite|Once|Although|Though|Because|[A-Z][a-z]+ly) (?:[^,]{0,60}, ?)?[^,]{0,20}"
)
_PERSONAL = re.compile(r"(He|She|His|Her)\b")
_NEUTER = re.compile(r"(It|Its)\b")


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence, made to stand alone."""

    text: str
    """With its subject named, without brackets and final stop."""
    brackets: tuple[str, ...]
    """What stood in brackets, in order."""
    own_brackets: tuple[str, ...]
    """Those that stood right behind the name with which the sentence opens."""
    index: int
    """Number of the sentence in the passage."""
    about_topic: bool
    """Whether its subject is the topic; then the text begins with the topic's name."""
    resolved: bool
    """Whether it says what it is about."""


def statements(passage: Passage, about: Topic) -> list[Statement]:
    """Returns the passage's sentences as statements, in order; headings and lines of a few signs are left out."""
    found: list[Statement] = []
    current = True  # whether the last subject was the topic
    start = passage.start == 0
    for index, piece in enumerate(pieces(passage.text)):
        if piece.startswith("#"):
            continue
        brackets = tuple((match[1] or match[2] or "").strip() for match in BRACKET.finditer(piece))
        own = _own_brackets(piece, about)
        text = _tidy(BRACKET.sub("", piece))
        if len(text) < 8 or " " not in text:
            continue
        text = _CONNECTIVE.sub("", text, count=1)
        text = text[0].upper() + text[1:]
        text = _unfronted(text)
        named, is_about = _named(text, about, current, start)
        if (opener := _OPENER.match(text)) and (opener[2] in about.aliases or (current and opener[2].islower())):
            fits = opener[2] in (("he", "she") if about.is_person else ("it",)) or opener[2] in about.aliases
            named, is_about = (text, True) if fits else (named, is_about)
        sound = text[0].isalnum() or text[0] in "\"“'"
        sound = sound and not re.search(r"[()\[\]|]", text)
        fit = sound and named is not None and (is_about or not _UNRESOLVED.match(named)) and not _EXPLETIVE.match(named)
        if fit and named:
            parts = _parts(named, about, is_about)
            found += [
                Statement(part, brackets if n == 0 else (), own if n == 0 else (), index, is_about, True)
                for n, part in enumerate(parts)
            ]
        else:
            found.append(Statement(text, brackets, own, index, False, False))
        mentions = bool(fit and named and about.name and about.named in named)
        if about.is_person:
            current = is_about or mentions or (current and not is_person(" ".join(text.split()[:2]).rstrip(",")))
        else:
            current = is_about or mentions
        start = False
    return found


def _named(text: str, about: Topic, current: bool, start: bool) -> tuple[str | None, bool]:
    """Returns the sentence with its subject named (None if that is not clear), and whether that is the topic."""
    for alias in about.aliases:
        for opening in (alias, f"The {alias}"):
            following = re.match(rf"{re.escape(opening)}(?:['’]s?(?= )|(?= ?[,;])|(?= ([a-z]+)))", text)
            if following and (not following[1] or _goes_on(following[1])):
                return about.subject + text[len(opening) :], True
    pronoun = _PERSONAL.match(text) if about.is_person else _NEUTER.match(text)
    if pronoun and about.name:
        clear = current and (about.is_person or about.mentioned or not start)
        if not clear or (not about.is_person and not about.mentioned) or _EXPLETIVE.match(text):
            return None, False
        return about.subject + ("'s" if pronoun[1] in ("His", "Its", "Her") else "") + text[pronoun.end() :], True
    if _PERSONAL.match(text) or _NEUTER.match(text):
        return None, False
    definite = re.match(r"The (\w+)\b", text)
    if definite and definite[1].lower() in about.nouns and about.mentioned:
        rest = text[definite.end() :]
        if re.match(r"(?:['’]s)? [a-z]", rest) and rest.split()[0] not in ("of",):
            return about.subject + rest, True
    return _named_inside(text, about, current), False


def _goes_on(word: str) -> bool:
    """Whether a word after the topic's name leaves that the subject, and does not make it part of a longer name."""
    return word in SMALL_WORDS or is_verb(word) or word.endswith(("ly", "s"))


def _own_brackets(piece: str, about: Topic) -> tuple[str, ...]:
    name = re.match(r"[^(\[]*", piece)
    if not name or (
        name[0].strip(" ,") not in about.aliases and not re.fullmatch(r"(?:[A-Z][\w.'’-]* ){2,5}", name[0])
    ):
        return ()
    behind = re.match(rf"(?:{BRACKET.pattern})+", piece[name.end() :])
    return tuple((m[1] or m[2] or "").strip() for m in BRACKET.finditer(behind[0])) if behind else ()


def _named_inside(text: str, about: Topic, current: bool) -> str | None:
    """Names the topic for a pronoun behind an opening phrase; None if a pronoun stays without a noun before it."""
    pronoun = re.search(r"\b(he|she|it|they|his|her|its|their|him|them)\b", text)
    if not pronoun:
        return text
    before = text[: pronoun.start()]
    capitals = re.findall(rf" (?!(?:{MONTHS})\b)([A-Z]\w+)", before)
    if any(word not in DEMONYMS for word in capitals) and "," not in before:
        return text
    fronted = _FRONT.fullmatch(before)
    if fronted and current and about.name:
        if (about.is_person and pronoun[1] in ("he", "she")) or (
            not about.is_person
            and pronoun[1] == "it"
            and about.mentioned
            and not _EXPLETIVE.match("It" + text[pronoun.end() :])
        ):
            return before + about.named + text[pronoun.end() :]
        if about.is_person and pronoun[1] in ("his", "her") and re.search(r"\b(?:he|she)\b", text[pronoun.end() :]):
            return before + about.named + "'s" + text[pronoun.end() :]
    if len(before.split()) <= 3 or fronted:
        return None
    return text


def _parts(text: str, about: Topic, is_about: bool) -> list[str]:
    """Divides `X, a town of Y, lies on Z, and it has W` into a statement each, where every subject is plain."""
    own_names = (*about.aliases, *(("he", "she") if about.is_person else ("it",)))
    if about.name and (match := _OPENER.match(text)) and match[2] in own_names:
        opener = match[1][0].lower() + match[1][1:]
        return [f"{about.subject} was {opener}", f"{about.subject} {match[3]}"]
    if is_about and (match := re.match(r"(.*?(?: is | was )[^;]*?)(?:, and |; )(it|he|she|its|his|her) (.+)", text)):
        fits = match[2] in (("he", "she", "his", "her") if about.is_person else ("it", "its"))
        if fits and not _EXPLETIVE.match(f"It {match[3]}") and " that " not in match[1]:
            own = "'s" if match[2] in ("its", "his", "her") else ""
            return [*_parts(match[1], about, True), *_parts(f"{about.subject}{own} {match[3]}", about, True)]
    apposed = re.match(
        r"((?:The |A |An )?(?:[^,;:]|,(?=\d)){2,60}), ((?:an?|the|who|which) (?:[^,;:]|,(?=\d)){3,90}), (([a-z]+) .+)",
        text,
    )
    job = re.match(r"([A-Z][^,;:]{2,60}), ([a-z][a-z ]{2,30}), (((?:was|is|were|are|had|has)|[a-z]+ed) .+)", text)
    if job and job[2].split()[-1] in OCCUPATIONS and not any(is_verb(word) for word in job[1].split()):
        past = job[4] not in ("is", "are", "has")
        article = "an" if job[2][0] in "aeio" else "a"
        return [f"{job[1]} {'was' if past else 'is'} {article} {job[2]}", f"{job[1]} {job[3]}"]
    if not apposed:
        return [text]
    subject, inner, rest, verb = apposed[1], apposed[2], apposed[3], apposed[4]
    if any(is_verb(word) for word in subject.split()) or not is_verb(verb) or verb in ("had", "have"):
        return [text]
    if inner.startswith(("who ", "which ")):
        return [f"{subject} {inner.split(' ', 1)[1]}", f"{subject} {rest}"] if is_verb(inner.split()[1]) else [text]
    past = verb == "was" or verb == "were" or verb in PAST_VERBS or verb.endswith("ed")
    return [f"{subject} {'was' if past else 'is'} {inner}", f"{subject} {rest}"]


def _unfronted(text: str) -> str:
    """Moves an opening `In 1932,` behind the main clause, where that is one clause with a plain subject."""
    match = _FRONTED.match(text)
    if not match or len(match[1].split()) > 7:
        return text
    body, phrase = text[match.end() :], match[1]
    if "," in body or ";" in body or len(body.split()) > 22 or not re.search(r"\d", phrase):
        return text
    if re.match(r"(?:and|or|but|\d)\b", body) or re.search(r" (?:and|but|that|who|which|when|while) ", body):
        return text
    return f"{body[0].upper()}{body[1:]} {phrase[0].lower()}{phrase[1:]}"


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\s+([,.;:])", r"\1", text)
    return re.sub(r"(?<=[\w\"”’')])[.。]+$", "", text)
