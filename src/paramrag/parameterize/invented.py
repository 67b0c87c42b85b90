"""Invented passages without end, each with its training items: what a hypernetwork learns reading from.

People, firms, places and works with made-up names and plain facts. Every fact is stated in one of several wordings, or
in lines such as "The occupation of X is Y.", and asked in several others. Nothing in them is true, so an answer can
only come from the passage. The same seed gives the same passages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from ..types import Passage, TrainingItem


def _words(text: str) -> tuple[str, ...]:
    """Splits a list; a dash alone is the empty word."""
    return tuple("" if word == "-" else word for word in text.split())


_ONSETS = _words("b br c ch cl d dr f fl g gr h j k kl l m n p pl qu r s sh sk sl st t th tr v w y z")
_NUCLEI = _words("a e i o u a e i o ai ea ee ia ie oa ou")
_CODAS = _words("- - - l n r s t m d k ck ll nd ng rd rn rt sk st th x y")
_FIRST = _words("""
    Adele Agnes Albert Alicia Amos Andre Anita Arthur Barbara Basil Beatrice Bernard Bonnie Bruno Carla Cecil Clara
    Conrad Cora Damon Daphne Delia Denise Dexter Dora Edgar Edith Edwin Elena Elias Elsa Emil Enrique Erika Esther
    Eugene Fabian Felicia Felix Flora Frances Gavin Gerald Gilbert Gina Gloria Greta Gustav Hannah Harvey Hazel
    Hector Helga Hilda Horace Hugo Ida Ingrid Irene Isaac Ivan Jasmine Jerome Joan Jonas Josef Judith Julius Karen
    Kenneth Kirsten Lars Laura Leonard Lillian Lionel Lorna Louis Lucia Lydia Mabel Magnus Marcel Margot Marina
    Martha Maurice Milan Miriam Mona Morris Nadia Naomi Nelson Nina Nora Norman Olga Oscar Otto Pamela Patrick Paula
    Pearl Percy Philip Priscilla Quentin Rachel Ralph Ramona Raymond Regina Rita Roger Rosa Rufus Ruth Sabine Samuel
    Selma Sheila Sidney Silas Sofia Stella Sven Sylvia Tanya Theodore Thelma Tobias Ursula Valerie Vera Victor Viola
    Virgil Wanda Warren Wilma Winston Xavier Yolanda Yvonne Zelda
""")
_LAST = _words("""
    Abbott Acosta Ahmed Aldridge Alvarez Archer Atwood Bagley Baldwin Banerjee Barlow Becker Bellamy Bishop
    Blackwood Boyle Bradshaw Brennan Brooks Burgess Calloway Carver Castillo Chandler Chavez Clayton Coleman Costa
    Crawford Dalton Dawson Delgado Dempsey Doyle Drummond Duarte Easton Eklund Ellison Emerson Everett Falk Farrell
    Ferrari Fischer Fleming Forsyth Foster Franklin Gallagher Garner Gibson Goodwin Graves Griffith Grimes Haas
    Hagen Halloran Hartley Hayes Hendricks Hobbs Holloway Hubbard Ibarra Ingram Irwin Jansen Jarvis Jennings Kaplan
    Keller Kendall Kerr Kowalski Kramer Lambert Larkin Lawson Lindgren Lockwood Lopez Lowell Maddox Malone Marsh
    Mercer Meyer Middleton Monroe Morales Mueller Nakamura Nash Navarro Newman Norris Novak Oakley Olsen Orozco
    Osborne Palmer Parrish Pereira Petersen Phelps Pruitt Quigley Ramsey Ranger Reyes Rhodes Rossi Rowland Salazar
    Sandoval Schultz Shaw Sheridan Sinclair Slater Sorensen Spencer Stafford Steele Stokes Sutton Tanaka Temple
    Thornton Trevino Tucker Underwood Valdez Vance Vaughn Vega Wagner Walsh Watkins Webb Weiss Whitaker Wilder
    Winters Wolfe Yates York Zamora
""")
_FIELDS = _words("""
    aerospace archive arts bakery bridge building cargo ceramics chemical cinema claims clothing coffee computer
    dairy dental diesel drama early-years education electrical energy estate exhibition farm fashion film finance
    fisheries forest furniture garden glass harbour health heritage hospital hotel housing insurance iron jewellery
    laboratory land leather library lighting marine market media mining museum music network office oil optical
    paper patent police port postal press print prison product public radio railway road safety sales school
    shipping sound sports steel stone systems tax textile theatre timber tourism toy training transport travel tree
    water waste web wine wood
""")
_ROLES = _words("""
    adviser agent analyst architect assistant attendant broker buyer chemist clerk consultant controller coordinator
    critic curator dealer designer director driver editor engineer examiner guide historian inspector instructor
    journalist keeper lawyer maker manager mechanic merchant nurse officer operator organiser painter photographer
    physicist pilot planner producer programmer psychologist ranger repairer researcher restorer scientist secretary
    solicitor specialist supervisor surgeon surveyor teacher technician therapist trader translator valuer warden
""")
_GRADES = _words("assistant associate chartered chief deputy junior principal regional senior trainee")
_JOBS = _words("""
    accountant acrobat actor actuary anaesthetist archaeologist astronomer auctioneer baker banker barber barrister
    biologist blacksmith bookbinder bookseller botanist brewer bricklayer butcher cabinet maker carpenter
    cartographer chef chiropractor cobbler comedian composer cook cooper dancer dentist dermatologist diplomat
    economist electrician embalmer farmer firefighter fisherman florist gardener geologist glazier goldsmith
    herbalist homeopath illustrator interpreter jeweller jockey judge lexicographer linguist locksmith magician
    mason mathematician midwife milliner miner musician neurologist novelist optician osteopath paramedic
    pathologist pharmacist plumber podiatrist poet potter psychotherapist publican sailor sculptor shepherd
    statistician stockbroker tailor tanner taxidermist toxicologist upholsterer veterinarian violinist watchmaker
    weaver welder zoologist
""")
_PASTIMES = _words("""
    abseiling astronomy badminton baking beekeeping billiards birdwatching blogging bowling boxing calligraphy
    camping canyoning caving chess climbing cricket crocheting cycling dancing darts debating diving dominoes
    drawing embroidery falconry fencing fishing flying foraging gardening genealogy geocaching golf gymnastics
    handball hiking hockey juggling jogging judo karate kayaking knitting lacemaking lapidary magic marbles
    meditation metalwork mushrooming origami orienteering painting parachuting parkour philately photography pilates
    poetry pottery puppetry quilting quizzing rafting rowing rugby sailing sculpting sewing singing skating
    sketching skiing sledging snooker squash surfing swimming tapestry taxidermy tennis topiary unicycling
    volleyball walking weaving whittling wrestling yoga
""")
_OBJECTS = _words("""
    barrel beetle bell book bottle button card clock coin compass doll drum feather fern flag fossil game glove hat
    instrument insect kite knife lamp leaf map mask medal mineral model moss moth mug musical box orchid pipe plane
    plate postcard poster puppet puzzle radio record ribbon rock rose seed shell ship song spoon stamp stone story
    tea thimble ticket tile train tram tree watch whistle
""")
_DOINGS = _words("collecting making watching carving painting restoring trading spotting photographing building")
_GENRES = _words("""
    thriller drama comedy western musical satire tragedy mystery ballad opera memoir fantasy horror romance jazz
    folk rock blues documentary adventure science-fiction historical novel war film road movie
""")
_GOODS = _words("""
    anvils barrels bicycles boots bricks brushes buttons cameras candles carpets chairs cheese clocks compasses
    cutlery engines fiddles flour gloves guitars harnesses kettles lamps lenses locks looms matches microscopes
    mirrors nails needles paint paper pencils pianos pumps ropes saddles sails scales scissors soap spectacles
    stoves tents tiles tractors umbrellas vases watches whistles wire
""")
_LANDS = _words("""
    Albania Argentina Austria Belgium Bolivia Brazil Bulgaria Canada Chile Croatia Denmark Ecuador Egypt Estonia
    Finland France Germany Ghana Greece Hungary Iceland India Iran Ireland Italy Japan Kenya Latvia Malta Mexico
    Morocco Nepal Norway Peru Poland Portugal Romania Russia Serbia Slovenia Spain Sweden Switzerland Tunisia Turkey
    Ukraine Uruguay
""")
_SPORTS = _words("""
    baseball basketball boxing cricket cycling football handball hockey judo rowing rugby swimming tennis volleyball
""")
_FAITHS = _words("""
    Anglicanism Buddhism Catholicism Hinduism Islam Judaism Lutheranism Methodism Orthodoxy Quakerism Sikhism
""")
_MONTHS = _words("January February March April May June July August September October November December")


@dataclass(frozen=True, slots=True)
class _Relation:
    """One kind of fact."""

    name: str  # as in "The NAME of X is Y."
    value: Callable[[Random, str], str]  # may look at the subject's name: relatives share the last
    says: tuple[str, ...]
    asks: tuple[str, ...]


def _syllables(random: Random, count: int) -> str:
    parts = []
    for at in range(count):
        coda = random.choice(_CODAS) if at == count - 1 or random.random() < 0.3 else ""
        parts.append(random.choice(_ONSETS) + random.choice(_NUCLEI) + coda)
    return "".join(parts).capitalize()


def _first(random: Random) -> str:
    return random.choice(_FIRST) if random.random() < 0.4 else _syllables(random, random.choice((1, 2, 2, 3)))


def _last(random: Random) -> str:
    return random.choice(_LAST) if random.random() < 0.4 else _syllables(random, random.choice((2, 2, 3)))


def _person(random: Random, _: str = "") -> str:
    return f"{_first(random)} {_last(random)}"


def _relative(random: Random, subject: str) -> str:
    return f"{_first(random)} {subject.split()[-1] if random.random() < 0.5 else _last(random)}"


def _people(random: Random, subject: str) -> str:
    return ", ".join(_relative(random, subject) for _ in range(random.choice((2, 2, 3))))


def _place(random: Random, _: str = "") -> str:
    return _syllables(random, random.choice((2, 2, 3)))


def _job(random: Random, _: str) -> str:
    drawn = random.random()
    if drawn < 0.3:
        return random.choice(_JOBS)
    job = f"{random.choice(_FIELDS)} {random.choice(_ROLES)}"
    return job if drawn < 0.75 else f"{random.choice((*_FIELDS, *_GRADES))} {job}"


def _pastime(random: Random, _: str) -> str:
    drawn = random.random()
    if drawn < 0.5:
        return random.choice(_PASTIMES)
    if drawn < 0.6:
        return f"{random.choice(_DOINGS)} {random.choice(_OBJECTS)}s"
    return f"{random.choice(_OBJECTS)} {random.choice(_DOINGS)}"


def _iso_date(random: Random, _: str) -> str:
    return f"{random.randint(1, 2020):04d}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}"


def _date(random: Random, _: str) -> str:
    if random.random() < 0.5:
        return _iso_date(random, _)
    return f"{random.randint(1, 28)} {random.choice(_MONTHS)} {random.randint(1500, 2015)}"


def _year(random: Random, _: str) -> str:
    return str(random.randint(1200, 2015))


def _count(random: Random, _: str) -> str:
    return f"{random.randint(2, 990) * 100:,}"


def _one_of(values: Sequence[str]) -> Callable[[Random, str], str]:
    return lambda random, _: random.choice(values)


def _kin(name: str, *, plural: str = "") -> _Relation:
    """A relative; `plural` gives the other name of a list of several."""
    asks = ["Who is the {n} of {s}?", "Who is {s}'s {n}?", "What is the name of {s}'s {n}?", "{s} has which {n}?"]
    asks += ["What is the {n} of {s} called?", "The {n} of {s} is who?"]
    says = ["The {n} of {s} is {v}.", "{s}'s {n} is {v}.", "{v} is the {n} of {s}."]
    if plural:
        asks = ["Who are the {n} of {s}?", "Who are {s}'s {n}?", "What are the names of {s}'s {n}?"]
        says = ["The {n} of {s} are {v}.", "{s}'s {n} are {v}."]
    named = plural or name
    fill = [tuple(text.replace("{n}", named) for text in texts) for texts in (says, asks)]
    return _Relation(named, _people if plural else _relative, *fill)


_BORN = (
    "When was {s} born?",
    "What is the date of birth of {s}?",
    "What is {s}'s birth date?",
    "{s} was born on what day?",
    "What is the birthday of {s}?",
)
_PERSON = (
    _Relation(
        "occupation",
        _job,
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
    _Relation(
        "hobby",
        _pastime,
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
    _Relation("date of birth", _date, ("{s} was born on {v}.", "Born on {v}, {s} is still remembered."), _BORN),
    _Relation(
        "gender",
        _one_of(("male", "female")),
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
    _Relation(
        "place of birth",
        _place,
        ("{s} was born in {v}.", "{s} comes from {v}.", "{v} is the birthplace of {s}."),
        ("Where was {s} born?", "In what city was {s} born?", "What is the birthplace of {s}?", "Where is {s} from?"),
    ),
    _Relation(
        "employer",
        lambda random, _: f"{_place(random)} {random.choice(('Works', 'Bank', 'Institute', 'Press', 'Lines'))}",
        ("{s} is employed by {v}.", "{s} has been with {v} for years."),
        ("Who employs {s}?", "Who is the employer of {s}?", "For whom does {s} work?"),
    ),
    _Relation(
        "sport",
        _one_of(_SPORTS),
        ("{s} plays {v} for a living.", "{s} is known for {v}."),
        ("What sport does {s} play?", "Which sport is {s} known for?"),
    ),
    _Relation(
        "religion",
        _one_of(_FAITHS),
        ("{s} follows {v}.", "{s} was raised in {v}."),
        ("What is the religion of {s}?", "Which faith does {s} follow?"),
    ),
)
_FIRM = (
    _Relation(
        "founder",
        _person,
        ("{s} was founded by {v}.", "{v} started {s} in a shed."),
        ("Who founded {s}?", "Who is the founder of {s}?", "Who started {s}?"),
    ),
    _Relation(
        "headquarters",
        _place,
        ("{s} is based in {v}.", "{s} has its head office in {v}."),
        ("Where is {s} based?", "Where are the headquarters of {s}?", "In what city is {s}?"),
    ),
    _Relation(
        "founding year",
        _year,
        ("{s} was founded in {v}.", "Since {v} {s} has been in business."),
        ("When was {s} founded?", "In what year was {s} founded?"),
    ),
    _Relation(
        "product",
        _one_of(_GOODS),
        ("{s} makes {v}.", "{s} is known for its {v}."),
        ("What does {s} make?", "What is the product of {s}?", "What is {s} known for?"),
    ),
    _Relation(
        "owner", _person, ("{s} belongs to {v}.", "{v} owns {s}."), ("Who owns {s}?", "Who is the owner of {s}?")
    ),
)
_TOWN = (
    _Relation(
        "country",
        lambda random, _: random.choice(_LANDS) if random.random() < 0.6 else _place(random),
        ("{s} is a town in {v}.", "{s} lies in the north of {v}.", "{s} is a village in {v}."),
        ("In what country is {s}?", "What country is {s} in?", "Which country does {s} belong to?"),
    ),
    _Relation(
        "river",
        _place,
        ("{s} stands on the river {v}.", "The river {v} runs through {s}."),
        ("Which river runs through {s}?", "On what river is {s}?", "What is the river of {s}?"),
    ),
    _Relation(
        "mayor",
        _person,
        ("{v} is the mayor of {s}.", "The mayor of {s} is {v}."),
        ("Who is the mayor of {s}?", "Who governs {s}?"),
    ),
    _Relation(
        "population",
        _count,
        ("{s} has {v} inhabitants.", "The population of {s} is {v}."),
        ("How many people live in {s}?", "What is the population of {s}?"),
    ),
    _Relation(
        "capital",
        _place,
        ("{v} is the capital of {s}.", "The seat of government of {s} is {v}."),
        ("What is the capital of {s}?", "Which city is the capital of {s}?"),
    ),
)
_WORK = (
    _Relation(
        "author",
        _person,
        ("{s} was written by {v}.", "{v} wrote {s}."),
        ("Who is the author of {s}?", "Who wrote {s}?", "By whom is {s}?"),
    ),
    _Relation(
        "director",
        _person,
        ("{s} was directed by {v}.", "{v} directed {s}."),
        ("Who was the director of {s}?", "Who directed {s}?"),
    ),
    _Relation(
        "genre",
        _one_of(_GENRES),
        ("{s} is a {v}.", "{s} was received as a {v}."),
        ("What genre is {s}?", "What is the genre of {s}?", "What kind of work is {s}?"),
    ),
    _Relation(
        "composer",
        _person,
        ("The music of {s} is by {v}.", "{s} was composed by {v}."),
        ("Who was the composer of {s}?", "Who composed {s}?", "Who wrote the music of {s}?"),
    ),
    _Relation(
        "producer",
        _person,
        ("{s} was produced by {v}.", "{v} produced {s}."),
        ("Who was the producer of {s}?", "Who produced {s}?"),
    ),
    _Relation(
        "screenwriter",
        _person,
        ("The screenplay of {s} is by {v}.", "{v} wrote the script of {s}."),
        ("Who was the screenwriter for {s}?", "Who wrote the screenplay of {s}?"),
    ),
    _Relation(
        "year",
        _year,
        ("{s} appeared in {v}.", "{s} was released in {v}."),
        ("When was {s} released?", "In what year did {s} appear?"),
    ),
)
_FIRM_KINDS = ("Works", "Foundry", "Mills", "Brothers", "Company", "Instruments", "Dairy", "Shipyard")
_WORK_NAMES = ("The {a} of {b}", "{a}", "{a} and {b}", "A {a} for {b}", "The Last {a}", "{a}'s Song", "{b} Road")


def invented(seed: int) -> Iterator[tuple[Passage, list[TrainingItem]]]:
    """Yields passages and their items without end; half of them people."""
    random = Random(seed)
    while True:
        kind = random.random()
        if kind < 0.6:
            yield _made(random, _person(random), _PERSON, 0.5)
        elif kind < 0.73:
            yield _made(random, f"{_place(random)} {random.choice(_FIRM_KINDS)}", _FIRM, 0.15)
        elif kind < 0.86:
            yield _made(random, _place(random), _TOWN, 0.15)
        else:
            name = random.choice(_WORK_NAMES).format(a=_place(random), b=_place(random))
            yield _made(random, name, _WORK, 0.15)


def _made(
    random: Random, subject: str, relations: tuple[_Relation, ...], plain: float
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
            short = surname if relations is _PERSON and at and random.random() < 0.3 else subject
            told.append(_article(random.choice(relation.says).format(s=short, v=value)))
        text = " ".join(told)
    passage = Passage(text, subject, 0, len(text))
    items = []
    for relation, value in facts:
        start = text.find(value)
        for ask in relation.asks:
            items.append(TrainingItem(passage.id, ask.format(s=subject), value, "qa", (start, start + len(value))))
    return passage, items


def _lines(subject: str, facts: Sequence[tuple[_Relation, str]], random: Random) -> str:
    """Returns a fact a line, family and friends under headings of their own, as phantom-wiki writes."""
    parts: dict[str, list[str]] = {"Family": [], "Friends": [], random.choice(("Attributes", "Facts", "About")): []}
    *_, last = parts
    for relation, value in facts:
        kin = relation.value in (_people, _relative)
        heading = last if not kin else "Friends" if relation.name.startswith("friend") else "Family"
        verb = "are" if relation.value is _people else "is"
        parts[heading].append(f"The {relation.name} of {subject} {verb} {value}.")
    told = [f"## {heading}\n" + "\n".join(lines) for heading, lines in parts.items() if lines]
    return "\n\n".join([f"# {subject}", *told])


def _article(sentence: str) -> str:
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", sentence[0].upper() + sentence[1:])
