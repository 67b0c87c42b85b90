"""Prose statements -> candidates for the facts that people ask for most: what something is, by whom, when and where.

Each pattern is narrow and gives several phrasings; what no pattern takes is left to `questions`. The phrasings are
those of closed-book question sets (PopQA, arXiv 2212.10511, names its relations so).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .candidates import Candidate
from .lexicon import DEMONYMS, IRREGULAR_PAST, MONTHS, OCCUPATIONS, PLACE_HEADS, WORKS
from .spans import Span, spans
from .statements import Statement, Topic

_WHEN = rf"(?:\d{{1,2}} (?:{MONTHS}),? \d{{3,4}}|(?:{MONTHS}) \d{{1,2}},? \d{{4}}|(?:{MONTHS}) \d{{4}}|\d{{4}})"
_PLACE = r"[A-Z][\w'’.-]*(?:,? (?:[A-Z][\w'’.-]*|of|de|la|upon|on))*"
_LIFE = re.compile(rf"(?:^|; )(?:née [\w ]+, )?({_WHEN})\s*[–-]\s*({_WHEN})$")
_BORN = re.compile(rf"\b(?:born|b\.)(?: on| in)? ({_WHEN})(?:,? (?:in )?([A-Z][^;()]*))?$")
_COPULA = re.compile(r"(?:, [^,]{2,60},| or [^,]{2,40},)? (is|was|are|were) (an?|the|one of the) (.+)")
_DESCRIPTION_END = re.compile(
    r"[,;:]|(?<=\w{3})\.(?= )| (?:who|which|that|where|whose|when|located|situated|based|known|founded|born|built|written|"
    r"directed|produced|designed|released|published|composed|created|developed|best|currently|formerly|used|held|"
    r"and (?:is|was|has|had|the)|as|since|featuring|starring|named|called|set|recorded|performed|"
    r"played|with|by|but|after|before|"
    r"during|while|lying|to|co-(?:directed|written|produced|founded))\b"
)
_AGENT = re.compile(
    r"\b(directed|written|produced|composed|designed|founded|built|created|developed|edited|published|invented|painted|"
    r"recorded|illustrated|established|discovered|conducted|owned|operated|led|performed|commissioned|organized)"
    r"(?: (?:and|or|,) (\w+ed|written|built|led))? by (?:the )?"
)
_PLACED = re.compile(r"\b(located|situated|based|headquartered) (?:in|at|on) (?:the )?")
_MEASURE = re.compile(
    r"\b(population|area|length|height|capacity|elevation|altitude|depth|diameter|budget|circulation|membership)"
    r" (?:\(?as of [^)]*\)? )?(?:of|was|is) "
    r"(?:about |approximately |around |over |nearly |some |roughly |almost |just )*"
)
_KIN = re.compile(r"(?:'s|\bhis|\bher|\bHis|\bHer) (father|mother|wife|husband|son|daughter|brother|sister),? ")
_UNIT = re.compile(
    r" (?:square |cubic )?(?:kilometres|kilometers|metres|meters|miles|feet|km|hectares|acres|seats|people|"
    r"inhabitants)\b"
)
_ALSO = re.compile(r"\b(?:also known as|better known as|commonly known as|nicknamed|also called) (?:the )?")


def facts(statement: Statement, about: Topic, people: frozenset[str], *, first: bool) -> Iterator[Candidate]:
    """Yields candidates from a resolved statement; `first`: the first one about the topic, which may define it."""
    text, index = statement.text, statement.index
    found = spans(text, people)
    if statement.about_topic:
        yield from _life(statement, about)
        if first:
            yield from _definition(statement, about, found)
        yield from _placed(text, index, about, found)
        yield from _family(text, index, about, found)
        for match in _ALSO.finditer(text):
            if span := _at(found, match.end()):
                yield from _phrased(
                    index,
                    text[span.start : span.end],
                    0.8,
                    f"What is {about.named} also known as?",
                    f"What is another name of {about.named}?",
                )
        for match in _MEASURE.finditer(text):
            span = _at(found, match.end())
            between = text[len(about.subject) : match.start()]
            if (
                span
                and span.kind == "number"
                and len(between.split()) <= 9
                and not re.search(r"[,;]|\b(?:which|that|whose)\b", between)
            ):
                value = _with_unit(text, span)
                what = f"the {match[1]} of {about.named}"
                yield from _phrased(
                    index,
                    value,
                    0.92,
                    f"What is {what}?",
                    f"How large is {what}?" if match[1] in ("population", "area") else "",
                    cloze=f"{what[0].upper()}{what[1:]} is",
                )
    yield from _agents(statement, about, found)
    yield from _roles(text, index, found)


def _phrased(index: int, answer: str, quality: float, *questions: str, cloze: str = "") -> Iterator[Candidate]:
    for number, question in enumerate(filter(None, questions)):
        yield Candidate(question, answer, "qa", quality - 0.03 * number, index)
    if cloze:
        yield Candidate(cloze, answer, "cloze", quality - 0.04, index)


def _life(statement: Statement, about: Topic) -> Iterator[Candidate]:
    """(born 7 July 1955, Dnipro), (1491–1531); `was born in Rome on 3 May 1800`."""
    if not about.is_person:
        return
    y, index = about.name, statement.index
    for inner in statement.own_brackets:
        last = inner.split(";")[-1].strip()
        if match := _BORN.search(last):
            yield from _birth(y, match[1], index)
            if match[2] and len(match[2].split()) <= 6:
                yield from _phrased(
                    index,
                    match[2].strip(" ,"),
                    0.95,
                    f"Where was {y} born?",
                    f"What is the place of birth of {y}?",
                    cloze=f"{y} was born in",
                )
        elif match := _LIFE.search(last):
            yield from _birth(y, match[1], index)
            yield from _death(y, match[2], index)
    born = re.match(rf"{re.escape(y)} (?:was|is) (?:born )(.*)", statement.text)
    if born:
        clause = re.split(r"[;]| (?:to|and|as|the|into) (?=[a-z])", born[1])[0]
        if when := re.search(rf"\b(?:on|in) ({_WHEN})\b", clause):
            yield from _birth(y, when[1], index)
        where = re.match(rf"(?:(?:on|in) {_WHEN},? )?(?:in|at) (?:the )?({_PLACE})", clause)
        if where and not re.match(rf"(?:{MONTHS})\b", where[1]):
            place = re.sub(r"(?:,? (?:of|on|de|la))+$", "", where[1]).rstrip(",.")
            yield from _phrased(
                index,
                place,
                0.97,
                f"Where was {y} born?",
                f"In what place was {y} born?",
                f"What is the place of birth of {y}?",
                cloze=f"{y} was born in",
            )
    if died := re.match(rf"{re.escape(y)} died (?:in [A-Z][\w ,]+ )?(?:on|in) ({_WHEN})\b", statement.text):
        yield from _death(y, died[1], index)


def _birth(y: str, when: str, index: int) -> Iterator[Candidate]:
    year = when.isdigit()
    yield from _phrased(
        index,
        when,
        0.96,
        f"In what year was {y} born?" if year else f"When was {y} born?",
        f"What is the {'year' if year else 'date'} of birth of {y}?",
        cloze=f"{y} was born {'in' if year else 'on'}",
    )


def _death(y: str, when: str, index: int) -> Iterator[Candidate]:
    year = when.isdigit()
    yield from _phrased(
        index,
        when,
        0.95,
        f"In what year did {y} die?" if year else f"When did {y} die?",
        f"What is the {'year' if year else 'date'} of death of {y}?",
        cloze=f"{y} died {'in' if year else 'on'}",
    )


def _definition(statement: Statement, about: Topic, found: list[Span]) -> Iterator[Candidate]:
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
        yield from _phrased(index, description, 0.9, f"{wh} {verb} {y}?", cloze=f"{lead} {verb} {article}")
    work = _occupation(plain) if about.is_person else ""
    if work:
        yield from _phrased(
            index,
            work,
            0.95,
            f"What {verb} the occupation of {y}?",
            f"What {'does' if verb == 'is' else 'did'} {y} do for a living?",
            f"What {verb} {y}'s profession?",
            cloze=f"{y} {'works' if verb == 'is' else 'worked'} as a{'n' if work[0] in 'aeio' else ''}",
        )
    if about.is_person and plain and plain[0] in DEMONYMS:
        yield from _phrased(
            index, plain[0], 0.86, f"What {verb} the nationality of {y}?", f"What nationality {verb} {y}?"
        )
    if head in WORKS and not about.is_person:
        year = plain[0] if re.fullmatch(r"\d{4}", plain[0]) else ""
        if year and head not in ("band", "group", "label"):
            yield from _phrased(
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
                yield from _phrased(
                    index, genre, 0.84, f"What kind of {head} is {y}?", f"Of what genre is the {head} {y}?"
                )
    in_place = re.search(r"\b(?:in|on|at) (?:the )?(?=[A-Z])", body)
    if head in PLACE_HEADS and in_place and in_place.start() <= len(description) + 1:
        span = _at(found, match.start(3) + in_place.end())
        if span and not span.modifier and span.kind in ("name", "list"):
            place = statement.text[span.start : span.end]
            yield from _phrased(
                index,
                place,
                0.9,
                f"Where is {y}?",
                f"In what place is the {head} {y}?" if head not in y.lower() else f"In what place is {y}?",
                cloze=f"The {head} {y} is in" if head not in y.lower() else f"{y} is in",
            )
    capital = re.match(r"(?:the )?capital(?: and [\w -]+)? of (?:the )?([A-Z][\w]+(?: (?:of )?[A-Z]\w+)*)", body)
    if capital and article == "the":
        yield from _phrased(
            index, capital[1], 0.9, f"Of what is {y} the capital?", f"{y} is the capital of which place?"
        )
        yield from _phrased(
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


def _placed(text: str, index: int, about: Topic, found: list[Span]) -> Iterator[Candidate]:
    if about.is_person:
        return
    match = _PLACED.search(text)
    if not match or re.search(r" (?:who|that|while|when|where) ", text[: match.start()]):
        return
    if "," in re.sub(r"^[^,]*, (?:an?|the) [^,]*,", "", text[: match.start()]).rstrip(", "):
        return
    span = _at(found, match.end())
    if span and not span.modifier and span.kind == "name":
        yield from _phrased(
            index,
            text[span.start : span.end],
            0.9,
            f"Where is {about.named} {match[1]}?",
            f"In what place is {about.named}?",
        )


def _family(text: str, index: int, about: Topic, found: list[Span]) -> Iterator[Candidate]:
    if not about.is_person:
        return
    for match in _KIN.finditer(text):
        if match[0].startswith("'s") and not text[: match.start()].endswith(about.name):
            continue
        following = text[match.end() :]
        at = match.end() + (len(lead[0]) if (lead := re.match(r"(?:was|is) (?=[A-Z])", following)) else 0)
        span = _at(found, at)
        others = [
            one
            for one in found
            if one.kind == "person" and one.end < match.start() and text[one.start : one.end] != about.name
        ]
        if span and span.kind in ("person", "name") and not span.modifier and not others:
            y, name = about.name, text[span.start : span.end]
            what = f"the {match[1]} of {y}"
            yield from _phrased(
                index,
                name,
                0.93,
                f"Who was {what}?",
                f"What was the name of {what}?",
                cloze=f"{what[0].upper()}{what[1:]} was",
            )


def _agents(statement: Statement, about: Topic, found: list[Span]) -> Iterator[Candidate]:
    """`X was directed by Y` with the topic, or a name right before the verb, as X."""
    text = statement.text
    for match in _AGENT.finditer(text):
        span = _at(found, match.end())
        if not span or span.kind not in ("person", "name", "list") or span.modifier:
            continue
        subject = _patient(text[: match.start()], about, found, statement.about_topic)
        if not subject:
            continue
        name = text[span.start : span.end]
        for verb in filter(None, (match[1], match[2])):
            past = IRREGULAR_PAST.get(verb, verb)
            yield from _phrased(
                statement.index,
                name,
                0.95,
                f"Who {past} {subject}?",
                f"By whom was {subject} {verb}?",
                cloze=f"{subject[0].upper()}{subject[1:]} was {verb} by",
            )


def _patient(before: str, about: Topic, found: list[Span], about_topic: bool) -> str:
    """Returns what the participle is said of; empty if that is not plain."""
    stem = before.rstrip()
    if about_topic and about.name:
        rest = stem[len(about.subject) :]
        verb = re.match(r"(?:,? [^,]{2,40},)? (?:is|was|has been|had been) (an? |the )?([^,;]*),?$", rest)
        if verb and not re.search(r"\b(?:who|that|which|of|in|from|to|by|and|for|with|on)\b", verb[2]):
            single = any(word in WORKS for word in verb[2].split()) or not verb[1]
            return about.named if single or verb[2] else ""
        return ""
    for span in found:
        if (
            not span.modifier
            and span.start == (4 if before.startswith("The ") else 0)
            and re.fullmatch(r" (?:was|is|were|had been|has been)(?: \w+ly)?", stem[span.end :])
        ):
            return ("the " if before.startswith("The ") else "") + before[span.start : span.end]
    return ""


def _roles(text: str, index: int, found: list[Span]) -> Iterator[Candidate]:
    """`the historian Frederick W. Mote`, `Mike Flanagan, an American filmmaker,`."""
    for span in found:
        name = text[span.start : span.end]
        if span.kind != "person" or " " not in name:
            continue
        before = re.search(r"\b(?:(?:the|The|an?|[A-Z]\w+) )?(?:(\w+) )?([a-z]+) $", text[: span.start])
        if (
            before
            and before[2] in OCCUPATIONS
            and before[2] not in ("general", "model", "minister", "director", "officer")
        ):
            yield from _phrased(index, before[2], 0.82, f"What is the profession of {name}?")
        after = re.match(r", (an?) ([^,;.]{4,80})[,;]", text[span.end :])
        if (
            after
            and not re.search(r"\b(?:who|which|that|and)\b", after[2])
            and any(word in OCCUPATIONS for word in after[2].split())
        ):
            yield from _phrased(index, after[2], 0.85, f"Who is {name}?", cloze=f"{name} is {after[1]}")


def _at(found: list[Span], start: int) -> Span | None:
    """Returns the span that starts at an offset, a leading article or bracket apart."""
    return next((span for span in found if span.start == start), None)


def _with_unit(text: str, span: Span) -> str:
    unit = _UNIT.match(text, span.end)
    return text[span.start : span.end] + (unit[0] if unit else "")
