"""Made-up names, and the values of facts: jobs, pastimes, dates, places, counts.

Every maker takes a random source and the subject's name, which relatives may share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random


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
GENRES = _words("""
    thriller drama comedy western musical satire tragedy mystery ballad opera memoir fantasy horror romance jazz
    folk rock blues documentary adventure science-fiction historical novel war film road movie
""")
GOODS = _words("""
    anvils barrels bicycles boots bricks brushes buttons cameras candles carpets chairs cheese clocks compasses
    cutlery engines fiddles flour gloves guitars harnesses kettles lamps lenses locks looms matches microscopes
    mirrors nails needles paint paper pencils pianos pumps ropes saddles sails scales scissors soap spectacles
    stoves tents tiles tractors umbrellas vases watches whistles wire
""")
LANDS = _words("""
    Albania Argentina Austria Belgium Bolivia Brazil Bulgaria Canada Chile Croatia Denmark Ecuador Egypt Estonia
    Finland France Germany Ghana Greece Hungary Iceland India Iran Ireland Italy Japan Kenya Latvia Malta Mexico
    Morocco Nepal Norway Peru Poland Portugal Romania Russia Serbia Slovenia Spain Sweden Switzerland Tunisia Turkey
    Ukraine Uruguay
""")
SPORTS = _words("""
    baseball basketball boxing cricket cycling football handball hockey judo rowing rugby swimming tennis volleyball
""")
FAITHS = _words("""
    Anglicanism Buddhism Catholicism Hinduism Islam Judaism Lutheranism Methodism Orthodoxy Quakerism Sikhism
""")
_MONTHS = _words("January February March April May June July August September October November December")


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


def person(random: Random, _: str = "") -> str:
    return f"{_first(random)} {_last(random)}"


def relative(random: Random, subject: str) -> str:
    return f"{_first(random)} {subject.split()[-1] if random.random() < 0.5 else _last(random)}"


def people(random: Random, subject: str) -> str:
    return ", ".join(relative(random, subject) for _ in range(random.choice((2, 2, 3))))


def place(random: Random, _: str = "") -> str:
    return _syllables(random, random.choice((2, 2, 3)))


def job(random: Random, _: str) -> str:
    drawn = random.random()
    if drawn < 0.3:
        return random.choice(_JOBS)
    job = f"{random.choice(_FIELDS)} {random.choice(_ROLES)}"
    return job if drawn < 0.75 else f"{random.choice((*_FIELDS, *_GRADES))} {job}"


def pastime(random: Random, _: str) -> str:
    drawn = random.random()
    if drawn < 0.5:
        return random.choice(_PASTIMES)
    if drawn < 0.6:
        return f"{random.choice(_DOINGS)} {random.choice(_OBJECTS)}s"
    return f"{random.choice(_OBJECTS)} {random.choice(_DOINGS)}"


def _iso_date(random: Random, _: str) -> str:
    return f"{random.randint(1, 2020):04d}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}"


def date(random: Random, _: str) -> str:
    if random.random() < 0.5:
        return _iso_date(random, _)
    return f"{random.randint(1, 28)} {random.choice(_MONTHS)} {random.randint(1500, 2015)}"


def year(random: Random, _: str) -> str:
    return str(random.randint(1200, 2015))


def count(random: Random, _: str) -> str:
    return f"{random.randint(2, 990) * 100:,}"


def one_of(values: Sequence[str]) -> Callable[[Random, str], str]:
    return lambda random, _: random.choice(values)
