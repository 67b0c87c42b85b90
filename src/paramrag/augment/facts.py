"""Prose statements -> candidates for the facts that people ask for most: what something is, by whom, when and where.

Each pattern is narrow and gives several phrasings; what no pattern takes is left to `questions`. The phrasings are
those of closed-book question sets (PopQA, arXiv 2212.10511, names its relations so).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .candidates import Candidate, phrased
from .definitions import definition
from .lexicon import IRREGULAR_PAST, MONTHS, OCCUPATIONS, WORKS
from .spans import Span, span_at, spans
from .statements import Statement
from .topics import Topic

_WHEN = rf"(?:\d{{1,2}} (?:{MONTHS}),? \d{{3,4}}|(?:{MONTHS}) \d{{1,2}},? \d{{4}}|(?:{MONTHS}) \d{{4}}|\d{{4}})"
_PLACE = r"[A-Z][\w'’.-]*(?:,? (?:[A-Z][\w'’.-]*|of|de|la|upon|on))*"
_LIFE = re.compile(rf"(?:^|; )(?:née [\w ]+, )?({_WHEN})\s*[–-]\s*({_WHEN})$")
_BORN = re.compile(rf"\b(?:born|b\.)(?: on| in)? ({_WHEN})(?:,? (?:in )?([A-Z][^;()]*))?$")
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
            yield from definition(statement, about, found)
        yield from _placed(text, index, about, found)
        yield from _family(text, index, about, found)
        for match in _ALSO.finditer(text):
            if span := span_at(found, match.end()):
                yield from phrased(
                    index,
                    text[span.start : span.end],
                    0.8,
                    f"What is {about.named} also known as?",
                    f"What is another name of {about.named}?",
                )
        for match in _MEASURE.finditer(text):
            span = span_at(found, match.end())
            between = text[len(about.subject) : match.start()]
            if (
                span
                and span.kind == "number"
                and len(between.split()) <= 9
                and not re.search(r"[,;]|\b(?:which|that|whose)\b", between)
            ):
                value = _with_unit(text, span)
                what = f"the {match[1]} of {about.named}"
                yield from phrased(
                    index,
                    value,
                    0.92,
                    f"What is {what}?",
                    f"How large is {what}?" if match[1] in ("population", "area") else "",
                    cloze=f"{what[0].upper()}{what[1:]} is",
                )
    yield from _agents(statement, about, found)
    yield from _roles(text, index, found)


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
                yield from phrased(
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
            yield from phrased(
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
    yield from phrased(
        index,
        when,
        0.96,
        f"In what year was {y} born?" if year else f"When was {y} born?",
        f"What is the {'year' if year else 'date'} of birth of {y}?",
        cloze=f"{y} was born {'in' if year else 'on'}",
    )


def _death(y: str, when: str, index: int) -> Iterator[Candidate]:
    year = when.isdigit()
    yield from phrased(
        index,
        when,
        0.95,
        f"In what year did {y} die?" if year else f"When did {y} die?",
        f"What is the {'year' if year else 'date'} of death of {y}?",
        cloze=f"{y} died {'in' if year else 'on'}",
    )


def _placed(text: str, index: int, about: Topic, found: list[Span]) -> Iterator[Candidate]:
    if about.is_person:
        return
    match = _PLACED.search(text)
    if not match or re.search(r" (?:who|that|while|when|where) ", text[: match.start()]):
        return
    if "," in re.sub(r"^[^,]*, (?:an?|the) [^,]*,", "", text[: match.start()]).rstrip(", "):
        return
    span = span_at(found, match.end())
    if span and not span.modifier and span.kind == "name":
        yield from phrased(
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
        span = span_at(found, at)
        others = [
            one
            for one in found
            if one.kind == "person" and one.end < match.start() and text[one.start : one.end] != about.name
        ]
        if span and span.kind in ("person", "name") and not span.modifier and not others:
            y, name = about.name, text[span.start : span.end]
            what = f"the {match[1]} of {y}"
            yield from phrased(
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
        span = span_at(found, match.end())
        if not span or span.kind not in ("person", "name", "list") or span.modifier:
            continue
        subject = _patient(text[: match.start()], about, found, statement.about_topic)
        if not subject:
            continue
        name = text[span.start : span.end]
        for verb in filter(None, (match[1], match[2])):
            past = IRREGULAR_PAST.get(verb, verb)
            yield from phrased(
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
            yield from phrased(index, before[2], 0.82, f"What is the profession of {name}?")
        after = re.match(r", (an?) ([^,;.]{4,80})[,;]", text[span.end :])
        if (
            after
            and not re.search(r"\b(?:who|which|that|and)\b", after[2])
            and any(word in OCCUPATIONS for word in after[2].split())
        ):
            yield from phrased(index, after[2], 0.85, f"Who is {name}?", cloze=f"{name} is {after[1]}")


def _with_unit(text: str, span: Span) -> str:
    unit = _UNIT.match(text, span.end)
    return text[span.start : span.end] + (unit[0] if unit else "")
