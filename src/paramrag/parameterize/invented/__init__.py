"""Invented passages without end, each with its training items: what a hypernetwork learns reading from.

People, firms, places and works with made-up names and plain facts. Every fact is stated in one of several wordings, or
in lines such as "The occupation of X is Y.", and asked in several others. Nothing in them is true, so an answer can
only come from the passage. The same seed gives the same passages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

from ...types import Passage, TrainingItem
from .relations import FIRM, PERSON, TOWN, WORK, Relation
from .values import people, person, place, relative

_FIRM_KINDS = ("Works", "Foundry", "Mills", "Brothers", "Company", "Instruments", "Dairy", "Shipyard")
_WORK_NAMES = ("The {a} of {b}", "{a}", "{a} and {b}", "A {a} for {b}", "The Last {a}", "{a}'s Song", "{b} Road")


def invented(seed: int) -> Iterator[tuple[Passage, list[TrainingItem]]]:
    """Yields passages and their items without end; half of them people."""
    random = Random(seed)
    while True:
        kind = random.random()
        if kind < 0.6:
            yield _made(random, person(random), PERSON, 0.5)
        elif kind < 0.73:
            yield _made(random, f"{place(random)} {random.choice(_FIRM_KINDS)}", FIRM, 0.15)
        elif kind < 0.86:
            yield _made(random, place(random), TOWN, 0.15)
        else:
            name = random.choice(_WORK_NAMES).format(a=place(random), b=place(random))
            yield _made(random, name, WORK, 0.15)


def _made(
    random: Random, subject: str, relations: tuple[Relation, ...], plain: float
) -> tuple[Passage, list[TrainingItem]]:
    """Returns a passage about a subject; `plain`: the probability that it is lines of one form, as in phantom-wiki."""
    lined = random.random() < plain
    most = 13 if lined else 8
    chosen = random.sample(relations, k=min(len(relations), random.randint(4 if lined else 3, most)))
    facts = [(relation, relation.value(random, subject)) for relation in chosen]
    if lined:
        text = _lines(subject, facts, random)
    else:
        surname = subject.split()[-1]
        told = []
        for at, (relation, value) in enumerate(facts):
            short = surname if relations is PERSON and at and random.random() < 0.3 else subject
            told.append(_article(random.choice(relation.says).format(s=short, v=value)))
        text = " ".join(told)
    passage = Passage(text, subject, 0, len(text))
    items = []
    for relation, value in facts:
        start = text.find(value)
        for ask in relation.asks:
            items.append(TrainingItem(passage.id, ask.format(s=subject), value, "qa", (start, start + len(value))))
    return passage, items


def _lines(subject: str, facts: Sequence[tuple[Relation, str]], random: Random) -> str:
    """Returns a fact a line, family and friends under headings of their own, as phantom-wiki writes."""
    parts: dict[str, list[str]] = {"Family": [], "Friends": [], random.choice(("Attributes", "Facts", "About")): []}
    *_, last = parts
    for relation, value in facts:
        kin = relation.value in (people, relative)
        heading = last if not kin else "Friends" if relation.name.startswith("friend") else "Family"
        verb = "are" if relation.value is people else "is"
        parts[heading].append(f"The {relation.name} of {subject} {verb} {value}.")
    told = [f"## {heading}\n" + "\n".join(lines) for heading, lines in parts.items() if lines]
    return "\n\n".join([f"# {subject}", *told])


def _article(sentence: str) -> str:
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", sentence[0].upper() + sentence[1:])
