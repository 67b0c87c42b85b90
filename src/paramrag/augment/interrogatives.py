"""A span and the words around it -> the question words that stand for it: `who`, `what year`, `how many`."""

from __future__ import annotations

import re

from .lexicon import AUXILIARIES, NOT_PERSON, PREPOSITIONS, SMALL_WORDS, is_verb
from .spans import Span

_PLACE_VERB = re.compile(
    r"\b(born|located|based|situated|founded|died|held|raised|lived|buried|educated|built|headquartered|established|"
    r"grew up|settled|stationed|filmed|opened|moved|lives|resides|stands|lies|took place|taught|studied|arrived)"
    r" (?:in|at|to)(?: the)? $"
)


def question_words(before: str, after: str, span: Span, text: str) -> tuple[str, int, str]:
    """Returns (question words for the span, characters they take of what follows, the same to open a question with).

    The last is empty if the span's phrase cannot be moved; it takes the preposition before the span with it.
    """
    stem = before.rstrip()
    last = stem.rsplit(" ", 1)[-1].lower()
    if span.kind in ("year", "date"):
        day = len(re.findall(r"\d+", text[span.start : span.end])) > 1
        word = "what year" if span.kind == "year" else "what date" if day or last != "in" else "what month"
        if last in ("in", "on", "since", "by", "until", "from"):
            opener = "When" if span.kind == "date" and last in ("in", "on") else f"{last.capitalize()} {word}"
            in_place = word
            return in_place, 0, opener
        return (
            (word, 0, "")
            if span.kind == "year" and last in ("to", "of", "during", "around", "after", "before")
            else ("", 0, "")
        )
    if span.kind == "number":
        value = text[span.start : span.end]
        if re.match(r"[$£€]", value):
            return "how much", 0, ""
        if re.search(r"%|percent|per cent", value):
            return "what percentage", 0, ""
        noun = re.match(
            r" ((?:[a-z]+(?:-[a-z]+)* ){0,2}?)([a-z]{3,}s|people|men|women|children|feet|members|inhabitants)\b", after
        )
        if (
            noun
            and last
            not in (
                "the",
                "these",
                "those",
                "his",
                "her",
                "its",
                "than",
                "least",
                "about",
                "approximately",
                "over",
                "all",
                "other",
                "nearly",
                "most",
                "first",
                "last",
            )
            and not stem.endswith(",")
        ):
            small = any(word in SMALL_WORDS or word.endswith(("ed", "ing")) for word in noun[1].split())
            if not small and noun[2] not in ("was", "has", "is", "does", "this", "its", "his"):
                return "how many", 0, ""
        return "", 0, ""
    if span.kind == "list":
        return "", 0, ""
    if span.kind == "phrase":
        return ("what", 0, "") if last in PREPOSITIONS and not re.match(r"[\w ]", after) else ("", 0, "")
    person = span.kind == "person"
    if _PLACE_VERB.search(before) and not person and span.kind == "name":
        return "what place", 0, "Where" if last in ("in", "at") else ""
    if last in ("called", "named", "titled", "entitled"):
        return "what", 0, ""
    if span.kind == "quote":
        return "", 0, ""
    if last in PREPOSITIONS and (last not in ("as", "like", "of") or not after.strip() or after[0] in ",;"):
        if not person and last in ("in", "at", "on", "near", "from", "to"):
            return "what", 0, ""
        return ("whom" if person or (last == "by" and not is_thing(text[span.start : span.end])) else "what"), 0, ""
    if person and (is_verb(last) and last not in AUXILIARIES):
        return "whom", 0, ""
    if person and last in ("is", "was"):
        return "who", 0, ""
    return "", 0, ""


def is_thing(name: str) -> bool:
    return bool(set(name.lower().split()) & (NOT_PERSON - {"the", "of", "for", "and"}))
