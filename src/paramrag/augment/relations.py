"""Lines that state a relation, `The X of Y is Z.` and `X: Z`, -> candidates in several phrasings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .candidates import Candidate
from .lexicon import SMALL_WORDS, is_verb
from .statements import Statement
from .topics import Topic
from .words import word_set

_RELATION = re.compile(r"The ([a-z][\w -]{1,40}?) of ([A-Z].{1,59}?) (is|are|was|were) (.{1,120})")
_KEY = re.compile(r"([A-Z][\w ]{1,30}): (.{1,120})")
_PLAIN_NAME = re.compile(r"(?:[^\W\d_][\w.'’-]*)(?: [^\W\d_][\w.'’-]*){0,5}")

_KIN = word_set(
    "mother father son daughter sister brother husband wife child parent friend spouse uncle aunt cousin nephew niece "
    "grandfather grandmother founder author owner leader president mayor king queen director head king composer "
    "architect inventor editor producer"
)
_PHRASINGS: dict[str, tuple[str, ...]] = {
    "occupation": ("What does {y} do for a living?", "What job does {y} have?", "*{y} works as"),
    "profession": ("What does {y} do for a living?", "*{y} works as"),
    "date of birth": ("When was {y} born?", "On what date was {y} born?", "*{y} was born on"),
    "birth date": ("When was {y} born?", "*{y} was born on"),
    "place of birth": ("Where was {y} born?", "*{y} was born in"),
    "hobby": ("What does {y} do as a hobby?", "What is the favourite pastime of {y}?", "*In free time, {y} enjoys"),
    "capital": ("Which city is the capital of {y}?",),
    "population": ("How many people live in {y}?",),
    "husband": ("To whom is {y} married?", "*{y} is the wife of"),
    "wife": ("To whom is {y} married?", "*{y} is the husband of"),
}
_KEYS: dict[str, tuple[str, str, str]] = {
    # key: (question, second question, cloze)
    "born": ("When was {y} born?", "What is known of the birth of {y}?", "{y} was born"),
    "died": ("When did {y} die?", "What is known of the death of {y}?", "{y} died"),
    "founded": ("When was {y} founded?", "What is known of the founding of {y}?", "{y} was founded"),
    "established": ("When was {y} established?", "What is known of the establishment of {y}?", "{y} was established"),
    "location": ("Where is {y}?", "What is the location of {y}?", "{y} is located in"),
    "located": ("Where is {y}?", "What is the location of {y}?", "{y} is located in"),
    "released": ("When was {y} released?", "What is known of the release of {y}?", "{y} was released"),
    "directed by": ("Who directed {y}?", "By whom was {y} directed?", "{y} was directed by"),
    "written by": ("Who wrote {y}?", "By whom was {y} written?", "{y} was written by"),
    "produced by": ("Who produced {y}?", "By whom was {y} produced?", "{y} was produced by"),
    "designed by": ("Who designed {y}?", "By whom was {y} designed?", "{y} was designed by"),
    "starring": ("Who stars in {y}?", "Who plays in {y}?", "The stars of {y} are"),
}


def relations(statement: Statement, about: Topic) -> Iterator[Candidate]:
    """Yields candidates if the statement is such a line."""
    if match := _RELATION.fullmatch(statement.text):
        yield from _of(match, statement.index)
    elif about.name and (match := _KEY.fullmatch(statement.text)):
        yield from _keyed(match[1], match[2].rstrip("."), about, statement.index)


def _of(match: re.Match[str], index: int) -> Iterator[Candidate]:
    relation, subject, verb = match[1], match[2], match[3]
    value = re.split(r", (?=[a-z])", match[4])[0] if verb in ("is", "was") else match[4]
    first = value.split(" ", 1)[0]
    if first in SMALL_WORDS - {"the", "a", "an"} or is_verb(first):
        return  # `was estimated at`, `is not known`
    plain = bool(_PLAIN_NAME.fullmatch(subject)) and all(word[:1].isupper() for word in subject.split())
    if not plain or re.search(r" (?:that|which|who|because|to be|not) |[;:]", value) or len(value.split()) > 14:
        return
    singular = relation[:-1] if verb in ("are", "were") and relation.endswith("s") else relation
    of_person = singular.split()[-1] in _KIN
    wh = "Who" if of_person else "What"
    values = re.split(r", (?:and )?| and ", value) if verb in ("are", "were") else [value]
    own = f"{subject}'" if subject.endswith("s") else f"{subject}'s"
    yield Candidate(f"{wh} {verb} the {relation} of {subject}?", value, "qa", 0.98, index)
    yield Candidate(f"{wh} {verb} {own} {relation}?", value, "qa", 0.96, index)
    yield Candidate(f"The {relation} of {subject} {verb}", value, "cloze", 0.95, index)
    if of_person:
        plural = verb in ("are", "were")
        noun = relation if plural else f"the {relation}"
        yield Candidate(f"Name {'the ' if plural else ''}{noun} of {subject}.", value, "qa", 0.9, index)
        yield Candidate(f"{own[0].upper()}{own[1:]} {relation} {verb} called", value, "cloze", 0.88, index)
    else:
        yield Candidate(f"State the {relation} of {subject}.", value, "qa", 0.84, index)
    if verb in ("is", "was"):
        for number, phrasing in enumerate(_PHRASINGS.get(relation, ())):
            kind = "cloze" if phrasing[0] == "*" else "qa"
            yield Candidate(phrasing.lstrip("*").format(y=subject), value, kind, 0.97 - 0.02 * number, index)
        if relation in ("husband", "wife", "mother", "father", "capital"):
            yield Candidate(f"Whose {relation} is {value}?", subject, "qa", 0.8, index)
    elif len(values) == 2 and of_person:
        for first, second in (values, values[::-1]):
            yield Candidate(f"Besides {first}, who is a {singular} of {subject}?", second, "qa", 0.85, index)
            yield Candidate(f"{second} is a {singular} of whom?", subject, "qa", 0.6, index)
    elif of_person:
        for number, one in enumerate(values):
            yield Candidate(f"{one} is a {singular} of whom?", subject, "qa", 0.7 - 0.02 * number, index)


def _keyed(key: str, value: str, about: Topic, index: int) -> Iterator[Candidate]:
    y, small = about.name, key.lower()
    if small in _KEYS:
        first, second, cloze = (text.format(y=y) for text in _KEYS[small])
        yield Candidate(first, value, "qa", 0.9, index)
        yield Candidate(second, value, "qa", 0.7, index)
        yield Candidate(cloze, value, "cloze", 0.85, index)
        return
    if len(small.split()) <= 4 and not small.endswith("ed"):
        yield Candidate(f"What is given as the {small} of {y}?", value, "qa", 0.8, index)
        yield Candidate(f"{y}, {small}:", value, "cloze", 0.75, index)
        for number, phrasing in enumerate(_PHRASINGS.get(small, ())):
            kind = "cloze" if phrasing[0] == "*" else "qa"
            yield Candidate(phrasing.lstrip("*").format(y=y), value, kind, 0.85 - 0.02 * number, index)
