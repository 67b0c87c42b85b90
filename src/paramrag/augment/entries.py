"""List entries -> candidates: `Derek Jacobi (born 1938), English actor`; in cast lists `Oliver Hardy as a driver`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..types import Passage
from .candidates import Candidate
from .lexicon import PERSON_ROLES
from .spans import is_person
from .statements import Statement
from .topics import Topic

_NAME = r"[A-Z][\w.'’-]*(?: (?:[A-Z][\w.'’-]*|de|von|van|of|la)){1,4}"
_ENTRY = re.compile(rf"({_NAME}), ((?:[A-Z]?[a-z]|[A-Z]{{2,4}}\b)[^,;:.]{{3,70}})")
_ROLE = re.compile(rf"({_NAME}) as (?:an? |the )?([A-Z][^,;:.]{{1,50}})")
_BORN = re.compile(r"born (?:in )?(\d{4})")
_LIFE = re.compile(r"(\d{4})\s*[–-]\s*(\d{4})")


def entries(statement: Statement, about: Topic, passage: Passage) -> Iterator[Candidate]:
    """Yields candidates if the statement is an entry of a list, not a sentence."""
    text, index = statement.text, statement.index
    if match := _ENTRY.fullmatch(text):
        name, what = match[1], match[2]
        person = is_person(name) or bool(set(what.lower().split()) & PERSON_ROLES)
        if not person or re.search(r"\b(?:several|is|was|are|were|who|that|has|had)\b", what):
            return
        yield Candidate(f"Who is {name}?", what, "qa", 0.8, index)
        article = "an" if what[0].lower() in "aeio" else "a"
        yield Candidate(f"{name} is {article}", what, "cloze", 0.7, index)
        for bracket in statement.own_brackets:
            if born := _BORN.search(bracket):
                yield Candidate(f"In what year was {name} born?", born[1], "qa", 0.78, index)
            elif life := _LIFE.search(bracket):
                yield Candidate(f"In what year was {name} born?", life[1], "qa", 0.78, index)
                yield Candidate(f"In what year did {name} die?", life[2], "qa", 0.76, index)
    elif about.name and "cast" in passage.title.lower() and (match := _ROLE.fullmatch(text)):
        role = re.sub(r"^(An?|The) ", lambda article: article[0].lower(), match[2])
        yield Candidate(f"Who plays {role} in {about.name}?", match[1], "qa", 0.9, index)
        yield Candidate(f"Which role does {match[1]} play in {about.name}?", role, "qa", 0.88, index)
        yield Candidate(f"In {about.name}, {role} is played by", match[1], "cloze", 0.84, index)
