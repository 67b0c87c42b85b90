"""The sentence that says what the topic is -> candidates: its kind, occupation, nationality, genre, year and place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .candidates import Candidate, phrased
from .lexicon import DEMONYMS, OCCUPATIONS, PLACE_HEADS, WORKS
from .spans import Span, span_at
from .statements import Statement
from .topics import Topic

_COPULA = re.compile(r"(?:, [^,]{2,60},| or [^,]{2,40},)? (is|was|are|were) (an?|the|one of the) (.+)")
_DESCRIPTION_END = re.compile(
    r"[,;:]|(?<=\w{3})\.(?= )| (?:who|which|that|where|whose|when|located|situated|based|known|founded|born|built|"
    r"written|directed|produced|designed|released|published|composed|created|developed|best|currently|formerly|used|held|"
    r"and (?:is|was|has|had|the)|as|since|featuring|starring|named|called|set|recorded|performed|"
    r"played|with|by|but|after|before|"
    r"during|while|lying|to|co-(?:directed|written|produced|founded))\b"
)


def definition(statement: Statement, about: Topic, found: list[Span]) -> Iterator[Candidate]:
    """X is a Swiss city in the canton of Neuchâtel; X was an Italian painter."""
    y, lead, index = about.named, about.subject, statement.index
    match = _COPULA.match(statement.text, len(lead)) if statement.text.startswith(lead) else None
    if not match:
        return
    verb, article, body = match[1], match[2], match[3]
    end = _DESCRIPTION_END.search(body)
    description = body[: end.start()] if end else body
    torn = end is not None and end[0] == "," and body[end.end() :].lstrip()[:1].isupper()
    if (torn or len(description.split()) > 10) and (cut := re.search(r" (?:in|of|at|on|from|for)\b", description)):
        description = description[: cut.start()]
    words = description.split()
    if not 1 <= len(words) <= 12 or article == "one of the":
        return
    plain = re.split(r" (?:in|of|at|on|from|for)\b", description)[0].split()
    head = plain[-1].lower() if plain else ""
    wh = "Who" if about.is_person else "What"
    if len(words) > 1:
        yield from phrased(index, description, 0.9, f"{wh} {verb} {y}?", cloze=f"{lead} {verb} {article}")
    work = _occupation(plain) if about.is_person else ""
    if work:
        yield from phrased(
            index,
            work,
            0.95,
            f"What {verb} the occupation of {y}?",
            f"What {'does' if verb == 'is' else 'did'} {y} do for a living?",
            f"What {verb} {y}'s profession?",
            cloze=f"{y} {'works' if verb == 'is' else 'worked'} as a{'n' if work[0] in 'aeio' else ''}",
        )
    if about.is_person and plain and plain[0] in DEMONYMS:
        yield from phrased(
            index, plain[0], 0.86, f"What {verb} the nationality of {y}?", f"What nationality {verb} {y}?"
        )
    if head in WORKS and not about.is_person:
        year = plain[0] if re.fullmatch(r"\d{4}", plain[0]) else ""
        if year and head not in ("band", "group", "label"):
            yield from phrased(
                index,
                year,
                0.9,
                f"From what year is the {head} {y}?",
                f"In what year did the {head} {y} come out?" if head != "poem" else "",
            )
        style = [word for word in plain[:-1] if word != year and not _origin(word)]
        if (
            style
            and all(word.replace("-", "").isalpha() and word[0].islower() for word in style)
            and head not in ("series", "label", "group")
        ):
            genre = " ".join(style)
            if not re.search(r"\b(?:first|second|third|\w+th|final|last|eponymous)\b", genre) and genre not in (
                "short",
                "silent",
                "debut",
                "feature",
                "first",
                "second",
                "third",
                "new",
                "weekly",
                "monthly",
                "independent",
                "studio",
            ):
                yield from phrased(
                    index, genre, 0.84, f"What kind of {head} is {y}?", f"Of what genre is the {head} {y}?"
                )
    in_place = re.search(r"\b(?:in|on|at) (?:the )?(?=[A-Z])", body)
    if head in PLACE_HEADS and in_place and in_place.start() <= len(description) + 1:
        span = span_at(found, match.start(3) + in_place.end())
        if span and not span.modifier and span.kind in ("name", "list"):
            place = statement.text[span.start : span.end]
            yield from phrased(
                index,
                place,
                0.9,
                f"Where is {y}?",
                f"In what place is the {head} {y}?" if head not in y.lower() else f"In what place is {y}?",
                cloze=f"The {head} {y} is in" if head not in y.lower() else f"{y} is in",
            )
    capital = re.match(r"(?:the )?capital(?: and [\w -]+)? of (?:the )?([A-Z][\w]+(?: (?:of )?[A-Z]\w+)*)", body)
    if capital and article == "the":
        yield from phrased(
            index, capital[1], 0.9, f"Of what is {y} the capital?", f"{y} is the capital of which place?"
        )
        yield from phrased(
            index, y, 0.9, f"What is the capital of {capital[1]}?", f"Which city is the capital of {capital[1]}?"
        )


def _origin(word: str) -> bool:
    return any(part in DEMONYMS for part in word.replace("–", "-").split("-"))


def _occupation(plain: list[str]) -> str:
    """Returns `actor and director` from `American actor and director`; empty if there is no known occupation."""
    known = [at for at, word in enumerate(plain) if word.strip(",").lower() in OCCUPATIONS]
    if not known:
        return ""
    first, last = known[0], known[-1]
    between = [word.strip(",") for word in plain[first : last + 1]]
    if any(word not in ("and", "or") and word.lower() not in OCCUPATIONS for word in between) or last != len(plain) - 1:
        last = first
        if plain[first].endswith(",") or first != len(plain) - 1:
            following = plain[first + 1].lower() if first + 1 < len(plain) else ""
            if following not in ("and", "or", ""):
                return ""
    if plain[first - 1 : first] and plain[first - 1].lower() in (
        "vice",
        "assistant",
        "associate",
        "former",
        "film",
        "television",
        "theatre",
        "stage",
    ):
        return ""
    return " ".join(plain[first : last + 1]).strip(",")
