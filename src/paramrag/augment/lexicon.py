"""English word lists by which the rules tell people from things, and verbs from nouns."""

from __future__ import annotations

from .words import word_set

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"

AUXILIARIES = word_set("is are was were has had have can could will would may might must")
"""Verbs that change places with their subject in a question. `has`, `had` and `have` only before a participle."""

PREPOSITIONS = word_set(
    "of in on at by for from to with into onto under over near between among within without during since until after "
    "before against through throughout across along around about above below behind beyond beside as like than toward "
    "towards upon off per via outside inside"
)

SMALL_WORDS = PREPOSITIONS | word_set(
    "and or but nor yet so that which who whom whose where when while although though because if unless whether the a "
    "an is are was were has had have been be can could will would may might must shall should do does did not no also "
    "then there this these those its his her their it he she they we you i my your our both either neither each every "
    "some any many most several all other another such same only even just more less much very often later now"
)
"""Words that begin no name, and after which a name stands alone."""

PAST_VERBS = word_set(
    "died used fled tied became began bore bought broke brought built came caught chose cut drew drove fell felt "
    "fought found flew gave got grew held hit kept knew laid lay led left lent let lost made meant met paid put ran "
    "read rose said sang sat saw sent set shot shut sold spent spoke spread stood struck swam taught thought threw "
    "told took understood went woke won wore wrote"
)
PRESENT_VERBS = word_set(
    "acts allows appears argues asks attracts believes calls carries causes claims connects costs creates describes "
    "dates defines depends develops ends enters exists explains falls feeds finds focuses follows governs handles "
    "helps holds houses increases involves joins kills knows lasts likes links lists loses manages marks measures "
    "meets moves names needs opens opposes passes pays points prefers presents prevents proposes protects proves puts "
    "receives reduces regards relates releases replaces represents requires rests returns rings rules sees sells "
    "sends separates sets smells starts states stays stems studies suggests supplies supports tastes tends tests "
    "treats tries turns wants wears wins becomes begins belongs borders comes competes consists contains covers "
    "derives divides draws extends features flows forms gives goes grows hosts includes keeps leads lies lives makes "
    "means occurs offers operates owns performs plays produces provides ranks reaches refers remains runs says serves "
    "shows sits specializes spreads stands stars tells takes teaches uses works writes does seems rises"
)

NUMBER_WORDS = word_set(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)

DEMONYMS = word_set(
    "Afghan African Albanian Algerian American Angolan Arab Argentine Argentinian Armenian Asian Australian Austrian "
    "Azerbaijani Bangladeshi Basque Belarusian Belgian Bolivian Bosnian Brazilian British Bulgarian Burmese Cambodian "
    "Cameroonian Canadian Catalan Chilean Chinese Colombian Congolese Croatian Cuban Cypriot Czech Danish Dominican "
    "Dutch Ecuadorian Egyptian English Estonian Ethiopian European Fijian Filipino Finnish Flemish French Georgian "
    "German Ghanaian Greek Guatemalan Haitian Hungarian Icelandic Indian Indonesian Iranian Iraqi Irish Israeli "
    "Italian Ivorian Jamaican Japanese Jewish Jordanian Kazakh Kenyan Korean Kosovan Kurdish Kuwaiti Latvian Lebanese "
    "Liberian Libyan Lithuanian Macedonian Malaysian Maltese Mexican Moldovan Mongolian Montenegrin Moroccan Namibian "
    "Nepalese Nigerian Norwegian Pakistani Palestinian Panamanian Paraguayan Persian Peruvian Polish Portuguese "
    "Romanian Russian Rwandan Salvadoran Samoan Saudi Scottish Senegalese Serbian Singaporean Slovak Slovenian Somali "
    "Soviet Spanish Sudanese Swedish Swiss Syrian Taiwanese Tanzanian Thai Tunisian Turkish Ugandan Ukrainian "
    "Uruguayan Uzbek Venezuelan Vietnamese Welsh Yemeni Yugoslav Zambian Zimbabwean"
)

OCCUPATIONS = word_set(
    "academic activist actor actress admiral adventurer anthropologist arachnologist archaeologist archbishop "
    "architect artist astronaut astronomer athlete author bailiff ballerina banker baritone baronet basketballer "
    "bassist biochemist biographer biologist bishop botanist boxer broadcaster bryologist businessman businessperson "
    "businesswoman cardinal cartographer cartoonist cellist chef chemist choreographer cinematographer clergyman "
    "coach comedian composer computer_scientist conductor cricketer criminologist critic curator cyclist dancer "
    "dermatologist designer dentist diplomat director dramatist driver drummer economist editor educator engineer "
    "engraver entomologist entrepreneur essayist ethnographer explorer farmer fencer filmmaker flautist footballer "
    "friar general geographer geologist geophysicist golfer guitarist gymnast herpetologist historian hurler "
    "ichthyologist illustrator illusionist industrialist inventor jockey journalist judge jurist keyboardist lawyer "
    "librettist librarian linguist lyricist magician magistrate mathematician merchant meteorologist microbiologist "
    "midfielder minister missionary model monk mountaineer musician musicologist naturalist neurologist "
    "neuroscientist novelist nun nurse officer organist orientalist ornithologist painter paleontologist "
    "palaeontologist pathologist percussionist pharmacist philanthropist philologist philosopher photographer "
    "physician physicist physiologist pianist pilot playwright poet politician pornographic_actor preacher presenter "
    "priest printmaker producer professor programmer psychiatrist psychoanalyst psychologist publisher rabbi racer "
    "rapper referee reporter researcher rower sailor saxophonist scholar scientist screenwriter sculptor singer "
    "skater skier sociologist soldier songwriter soprano sprinter statesman statistician stockbroker striker surgeon "
    "swimmer teacher tenor theologian translator trombonist trumpeter violinist virologist vocalist volleyballer "
    "wrestler writer zoologist goalkeeper defender cleric trader weaver smith sorcerer lamplighter clockmaker "
    "cartwright baker fisherman captain"
)

PERSON_ROLES = OCCUPATIONS | word_set(
    "king queen prince princess emperor empress duke duchess count countess president chancellor mayor governor "
    "founder leader member winner player champion saint ruler pope knight sister brother mother father son daughter "
    "wife husband man woman boy girl person student pupil character deity goddess god"
)

HONORIFICS = word_set(
    "Mr Mrs Ms Miss Dr Prof Professor Sir Lady Lord Dame King Queen Prince Princess Emperor Empress Duke Duchess "
    "Count Countess Pope Saint St President Captain Colonel General Judge Senator Governor Bishop Cardinal Archbishop "
    "Chancellor Rabbi Reverend Rev Sheikh Sultan Tsar Tzar Khan Baron Baroness"
)

NOT_PERSON = word_set(
    "shield bowl inn farm route formation avenue academy act affair agency agreement air airlines airport album "
    "alliance army assembly association award awards bank band basin battle bay beach book bridge broadcasting "
    "brothers building bureau camp canal canton castle cathedral center centre championship channel chapel church "
    "city civil club coast college commission committee company conference congress convention corporation corps "
    "council county court creek cup day department district division dynasty east empire entertainment europe "
    "federation fc festival film films forest forum foundation game games gallery government group hall harbour "
    "highway hill history hospital hotel house institute international island islands journal kingdom lake language "
    "law league library line magazine ministry mountain mountains movement museum music network new news north ocean "
    "office opera orchestra organization palace park parliament party peninsula places plague plain plains port press "
    "prize province publishing race railway radio range records region republic reserve revolution river road royal "
    "school schools science sea senate series show society song south sound species square stadium state states "
    "station store street studio studios supreme symphony system team television temple territory theatre theater "
    "times tower town trade treaty tribunal trust union united university valley village war wars west woods world "
    "zoo guild market ferry bell lighthouse mill works inc ltd the of for and theory trial order plan project star "
    "cross medal"
)
"""Words that no person's name has."""

PLACE_HEADS = word_set(
    "city town village commune municipality suburb neighbourhood neighborhood capital county district region province "
    "canton island peninsula river lake mountain valley park bridge castle church cathedral museum university college "
    "school hospital airport station stadium building tower hotel library theatre theater hamlet parish borough port "
    "community settlement fort palace square street road bay beach forest township lighthouse"
)

WORKS = word_set(
    "film movie novel book album song single play opera musical series sitcom documentary drama comedy game magazine "
    "newspaper journal poem painting symphony anime manga ep band group label"
)

GIVEN_NAMES = word_set(
    "Aaron Adam Adolf Agnes Albert Alan Alex Alexander Alexandra Alfred Alice Allen Amanda Amy Andrea Andrew Angela "
    "Ann Anna Anne Anthony Antonio Arthur Barbara Barry Beatrice Ben Benjamin Bernard Betty Bill Blaise Bob Brian "
    "Bruce Carl Carlos Carol Caroline Catherine Charles Charlie Charlotte Chris Christian Christina Christine "
    "Christopher Claire Clara Claude Colin Craig Daniel David Dean Dennis Derek Diana Donald Dorothy Douglas Edgar "
    "Edith Edmund Edward Edwin Eleanor Elisabeth Elizabeth Ella Emily Emma Eric Ernest Eugene Eva Evelyn Francis "
    "Frank Franz Fred Frederick Friedrich Gabriel Gary Geoffrey George Gerald Gilbert Giovanni Giuseppe Gordon Grace "
    "Graham Greg Guy Hannah Hans Harold Harry Heinrich Helen Henri Henry Herbert Howard Hugh Hugo Ian Isaac Ivan Jack "
    "Jacob Jacques James Jane Janet Jason Jean Jeff Jennifer Jeremy Jessica Jim Joan Joe Johann Johannes John "
    "Jonathan Jose José Joseph Josef Juan Judith Julia Julian Julie Karen Karl Kate Keith Ken Kenneth Kevin Larry "
    "Laura Lawrence Leo Leon Leonard Lewis Linda Lisa Louis Louise Lucy Ludwig Luis Luke Margaret Maria Marie Mark "
    "Martha Martin Mary Matthew Maurice Max Michael Michel Miguel Mike Mohammed Muhammad Mohamed Nancy Neil Nicholas "
    "Nicolas Nigel Nora Norman Oliver Oscar Otto Pablo Patricia Patrick Paul Pedro Peter Philip Phil Pierre Rachel "
    "Ralph Raymond Rebecca Richard Robert Robin Roger Roland Ronald Rose Roy Rudolf Ruth Samuel Sam Sandra Sarah "
    "Scott Sean Sebastian Sharon Sidney Simon Sophie Stanley Stefan Stephen Steve Steven Stuart Susan Sylvia Teresa "
    "Terry Theodor Theodore Thomas Tim Timothy Tom Tony Victor Victoria Vincent Virginia Vladimir Walter Wilhelm "
    "William Wolfgang"
)

IRREGULAR_PAST = {"written": "wrote", "built": "built", "led": "led", "drawn": "drew", "run": "ran", "sung": "sang"}
"""Participle -> past tense, where they differ or do not end in -ed."""


def is_verb(word: str) -> bool:
    """Whether a lower-case word is, as far as the lists know, a finite verb."""
    return word in AUXILIARIES or word in PAST_VERBS or word in PRESENT_VERBS or (len(word) > 4 and word.endswith("ed"))
