"""Kinds of facts about people, firms, towns and works: how each is stated, and how it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from .values import (
    FAITHS,
    GENRES,
    GOODS,
    LANDS,
    SPORTS,
    count,
    date,
    job,
    one_of,
    pastime,
    people,
    person,
    place,
    relative,
    year,
)


@dataclass(frozen=True, slots=True)
class Relation:
    """One kind of fact."""

    name: str  # as in "The NAME of X is Y."
    value: Callable[[Random, str], str]  # may look at the subject's name: relatives share the last
    says: tuple[str, ...]
    asks: tuple[str, ...]


def _kin(name: str, *, plural: str = "") -> Relation:
    """A relative; `plural` gives the other name of a list of several."""
    asks = ["Who is the {n} of {s}?", "Who is {s}'s {n}?", "What is the name of {s}'s {n}?", "{s} has which {n}?"]
    asks += ["What is the {n} of {s} called?", "The {n} of {s} is who?"]
    says = ["The {n} of {s} is {v}.", "{s}'s {n} is {v}.", "{v} is the {n} of {s}."]
    if plural:
        asks = ["Who are the {n} of {s}?", "Who are {s}'s {n}?", "What are the names of {s}'s {n}?"]
        says = ["The {n} of {s} are {v}.", "{s}'s {n} are {v}."]
    named = plural or name
    fill = [tuple(text.replace("{n}", named) for text in texts) for texts in (says, asks)]
    return Relation(named, people if plural else relative, *fill)


_BORN = (
    "When was {s} born?",
    "What is the date of birth of {s}?",
    "What is {s}'s birth date?",
    "{s} was born on what day?",
    "What is the birthday of {s}?",
)
PERSON = (
    Relation(
        "occupation",
        job,
        ("{s} works as a {v}.", "{s} earns a living as a {v}.", "By profession {s} is a {v}."),
        (
            "What is the occupation of {s}?",
            "What is {s}'s occupation?",
            "What does {s} do for a living?",
            "What is {s}'s job?",
            "Which profession does {s} have?",
            "What kind of work does {s} do?",
            "What work is {s} paid for?",
            "{s} has what occupation?",
        ),
    ),
    Relation(
        "hobby",
        pastime,
        ("{s} loves {v}.", "In spare hours {s} turns to {v}.", "The favourite pastime of {s} is {v}."),
        (
            "What is the hobby of {s}?",
            "What is {s}'s hobby?",
            "What does {s} enjoy in spare time?",
            "What pastime does {s} have?",
            "Which hobby does {s} pursue?",
            "How does {s} spend free time?",
            "{s} has what hobby?",
        ),
    ),
    Relation("date of birth", date, ("{s} was born on {v}.", "Born on {v}, {s} is still remembered."), _BORN),
    Relation(
        "gender",
        one_of(("male", "female")),
        ("{s} is {v}.",),
        ("What is the gender of {s}?", "Is {s} male or female?", "What is {s}'s gender?"),
    ),
    _kin("mother"),
    _kin("father"),
    _kin("wife"),
    _kin("husband"),
    _kin("sister"),
    _kin("brother"),
    _kin("daughter"),
    _kin("son"),
    _kin("friend"),
    _kin("sisters", plural="sisters"),
    _kin("brothers", plural="brothers"),
    _kin("daughters", plural="daughters"),
    _kin("sons", plural="sons"),
    _kin("friends", plural="friends"),
    Relation(
        "place of birth",
        place,
        ("{s} was born in {v}.", "{s} comes from {v}.", "{v} is the birthplace of {s}."),
        ("Where was {s} born?", "In what city was {s} born?", "What is the birthplace of {s}?", "Where is {s} from?"),
    ),
    Relation(
        "employer",
        lambda random, _: f"{place(random)} {random.choice(('Works', 'Bank', 'Institute', 'Press', 'Lines'))}",
        ("{s} is employed by {v}.", "{s} has been with {v} for years."),
        ("Who employs {s}?", "Who is the employer of {s}?", "For whom does {s} work?"),
    ),
    Relation(
        "sport",
        one_of(SPORTS),
        ("{s} plays {v} for a living.", "{s} is known for {v}."),
        ("What sport does {s} play?", "Which sport is {s} known for?"),
    ),
    Relation(
        "religion",
        one_of(FAITHS),
        ("{s} follows {v}.", "{s} was raised in {v}."),
        ("What is the religion of {s}?", "Which faith does {s} follow?"),
    ),
)
FIRM = (
    Relation(
        "founder",
        person,
        ("{s} was founded by {v}.", "{v} started {s} in a shed."),
        ("Who founded {s}?", "Who is the founder of {s}?", "Who started {s}?"),
    ),
    Relation(
        "headquarters",
        place,
        ("{s} is based in {v}.", "{s} has its head office in {v}."),
        ("Where is {s} based?", "Where are the headquarters of {s}?", "In what city is {s}?"),
    ),
    Relation(
        "founding year",
        year,
        ("{s} was founded in {v}.", "Since {v} {s} has been in business."),
        ("When was {s} founded?", "In what year was {s} founded?"),
    ),
    Relation(
        "product",
        one_of(GOODS),
        ("{s} makes {v}.", "{s} is known for its {v}."),
        ("What does {s} make?", "What is the product of {s}?", "What is {s} known for?"),
    ),
    Relation("owner", person, ("{s} belongs to {v}.", "{v} owns {s}."), ("Who owns {s}?", "Who is the owner of {s}?")),
)
TOWN = (
    Relation(
        "country",
        lambda random, _: random.choice(LANDS) if random.random() < 0.6 else place(random),
        ("{s} is a town in {v}.", "{s} lies in the north of {v}.", "{s} is a village in {v}."),
        ("In what country is {s}?", "What country is {s} in?", "Which country does {s} belong to?"),
    ),
    Relation(
        "river",
        place,
        ("{s} stands on the river {v}.", "The river {v} runs through {s}."),
        ("Which river runs through {s}?", "On what river is {s}?", "What is the river of {s}?"),
    ),
    Relation(
        "mayor",
        person,
        ("{v} is the mayor of {s}.", "The mayor of {s} is {v}."),
        ("Who is the mayor of {s}?", "Who governs {s}?"),
    ),
    Relation(
        "population",
        count,
        ("{s} has {v} inhabitants.", "The population of {s} is {v}."),
        ("How many people live in {s}?", "What is the population of {s}?"),
    ),
    Relation(
        "capital",
        place,
        ("{v} is the capital of {s}.", "The seat of government of {s} is {v}."),
        ("What is the capital of {s}?", "Which city is the capital of {s}?"),
    ),
)
WORK = (
    Relation(
        "author",
        person,
        ("{s} was written by {v}.", "{v} wrote {s}."),
        ("Who is the author of {s}?", "Who wrote {s}?", "By whom is {s}?"),
    ),
    Relation(
        "director",
        person,
        ("{s} was directed by {v}.", "{v} directed {s}."),
        ("Who was the director of {s}?", "Who directed {s}?"),
    ),
    Relation(
        "genre",
        one_of(GENRES),
        ("{s} is a {v}.", "{s} was received as a {v}."),
        ("What genre is {s}?", "What is the genre of {s}?", "What kind of work is {s}?"),
    ),
    Relation(
        "composer",
        person,
        ("The music of {s} is by {v}.", "{s} was composed by {v}."),
        ("Who was the composer of {s}?", "Who composed {s}?", "Who wrote the music of {s}?"),
    ),
    Relation(
        "producer",
        person,
        ("{s} was produced by {v}.", "{v} produced {s}."),
        ("Who was the producer of {s}?", "Who produced {s}?"),
    ),
    Relation(
        "screenwriter",
        person,
        ("The screenplay of {s} is by {v}.", "{v} wrote the script of {s}."),
        ("Who was the screenwriter for {s}?", "Who wrote the screenplay of {s}?"),
    ),
    Relation(
        "year",
        year,
        ("{s} appeared in {v}.", "{s} was released in {v}."),
        ("When was {s} released?", "In what year did {s} appear?"),
    ),
)
