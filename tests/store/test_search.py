import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramrag.errors import ConfigError
from paramrag.store import documents
from paramrag.store.collection import Collection
from paramrag.store.search import searchable, text_of
from paramrag.store.tables import DOCUMENTS
from paramrag.types import Passage

from .factory import document

TEXTS = (
    "The Zorbik Tower was designed by Élodie Marchand.",
    "Running a marathon takes months of training.",
    "A lake lies north of the village; boats run on it.",
    "The tower fell in 1902 and was never rebuilt.",
)

TITLES = ("Zeta", "Eta", "Theta", "Iota")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    collection = Collection.open(tmp_path_factory.mktemp("search") / "c")
    collection.add([document(f"d{i}", text, title=f"Title {TITLES[i]}") for i, text in enumerate(TEXTS)])
    return collection


def texts(collection, query, k=3):
    return [hit.passage.text for hit in collection.search(query, k)]


def test_words_are_stemmed_folded_and_found_in_titles(collection):
    assert set(texts(collection, "towers", 4)) == {TEXTS[0], TEXTS[3]}
    assert texts(collection, "elodie marchands") == [TEXTS[0]]
    assert texts(collection, "RUNS", 1)[0] in TEXTS[1:3]
    assert set(texts(collection, "title", 9)) == set(TEXTS)


def test_hits_say_where_they_are(collection):
    (hit,) = collection.search("marathon", 1)
    assert (hit.document_id, hit.passage.title, hit.passage.text) == ("d1", "Title Eta", TEXTS[1])
    assert (hit.passage.start, hit.passage.end) == (0, len(TEXTS[1]))
    assert hit.score > 0


@pytest.mark.parametrize("query", ["", "   ", "the of and", "!?.,;", '"', "*", "()", "-", "xyzzy", "\0", "\n\t"])
def test_queries_without_a_known_word_find_nothing(collection, query):
    assert collection.search(query, 3) == []


@pytest.mark.parametrize(
    "query",
    [
        *('"marathon', "+marathon -training", "text:marathon", "marathon*", "marathon~2", "(marathon"),
        *("marathon AND NOT x", "marathon^9", "'marathon'", "\\marathon", "marathon' OR 1=1 --", "{marathon: ["),
    ],
)
def test_no_character_has_a_special_meaning(collection, query):
    assert texts(collection, query, 1) == [TEXTS[1]]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.integers(0, 6))
def test_any_query_is_answered(collection, query, k):
    hits = collection.search(query, k)
    assert len(hits) <= k
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({hit.passage.id for hit in hits}) == len(hits)


def test_k_and_query_are_checked(collection):
    assert collection.search("tower", 0) == []
    assert len(collection.search("tower", 1000)) == 2
    with pytest.raises(ConfigError, match="-1"):
        collection.search("tower", -1)
    with pytest.raises(ConfigError, match="NoneType"):
        collection.search(None, 3)


def test_very_long_queries_are_answered(collection):
    assert texts(collection, "marathon " + "x" * 100_000, 1) == [TEXTS[1]]
    assert texts(collection, "of the marathon " * 5_000, 1) == [TEXTS[1]]


def test_ties_are_ordered_by_passage_id_whatever_k_is(tmp_path):
    collection = Collection.open(tmp_path / "c")
    passages = [Passage(f"twin x{letter}x") for letter in "zyxwvutsrqponmlkjihgfedcba"]
    for some in (passages[:9], passages[9:]):
        collection.add(some)
    everything = [hit.passage.id for hit in collection.search("twin", 26)]
    assert everything == sorted(passage.id for passage in passages)
    for k in (1, 2, 7, 20):
        assert [hit.passage.id for hit in collection.search("twin", k)] == everything[:k]


def test_rows_are_found_before_they_are_indexed_and_never_after_removal(tmp_path):
    collection = Collection.open(tmp_path / "c")
    parts = collection._tables, collection._journal, collection._catalog
    collection.add(document("a", "zorbik one"))
    with collection.writing("test"):  # as a process leaves it that is killed before it has indexed
        documents._write(*parts, [document("b", "zorbik two")])
    assert len(collection.search("zorbik", 5)) == 2
    assert "scan" in " ".join(collection.verify().unfinished)
    with collection.writing("test"):  # and one that is killed right after the documents have gone
        documents._delete(parts[0], DOCUMENTS, ["a"])
    assert texts(collection, "zorbik", 5) == ["zorbik two"]
    assert "belong to no document" in " ".join(collection.verify().unfinished)
    collection.compact()
    assert collection.verify().ok
    assert texts(collection, "zorbik", 5) == ["zorbik two"]


@given(st.text(), st.text())
def test_the_searchable_string_gives_the_text_back(title, text):
    assert text_of(title, searchable(title, text)) == text


def test_scores_do_not_depend_on_how_the_collection_came_about(tmp_path):
    once, grown = Collection.open(tmp_path / "once"), Collection.open(tmp_path / "grown")
    several = [document(f"d{i}", f"word{i % 7} word{i % 5} common " * (1 + i % 3)) for i in range(60)]
    once.add(several)
    grown.add([document(f"x{i}", f"word{i % 3} common gone") for i in range(30)])
    for first in range(0, 60, 13):
        grown.add(several[first : first + 13])
    grown.remove([f"x{i}" for i in range(29)])
    grown.remove("x29")
    for query in ("word1", "common word3 word4", "word0 word6", "gone"):
        assert once.search(query, 20) == grown.search(query, 20)


@pytest.mark.parametrize("removed", [["a"], ["b"], ["a", "b"]])
def test_scores_forget_a_document_that_was_alone_in_its_file(tmp_path, removed):
    once, grown = Collection.open(tmp_path / "once"), Collection.open(tmp_path / "grown")
    kept = document("c", "a tower", "", "a lake")
    once.add(kept)
    for one in (document("a", "red tower"), document("b", "blue tower lake"), kept):
        grown.add(one)
    grown.remove(removed)
    if len(removed) == 1:
        grown.add(document({"a": "b", "b": "a"}[removed[0]], "changed"))
        once.add(document({"a": "b", "b": "a"}[removed[0]], "changed"))
    assert once.search("tower lake", 5) == grown.search("tower lake", 5)
    assert grown.verify().ok


def rarity(holding, rows):
    return math.log(1 + (rows - holding + 0.5) / (holding + 0.5))


def test_coverage_is_the_share_of_a_querys_rarity_that_a_passage_holds(collection):
    ids = [hit.passage.id for hit in collection.search("title", 9)]
    passage = {text: next(p for p in collection.passages(ids) if p.text == text) for text in TEXTS}
    wanted = [passage[TEXTS[0]].id, passage[TEXTS[1]].id, passage[TEXTS[3]].id]
    tower, designed = rarity(2, 4), rarity(1, 4)
    whole = tower + designed  # stop words, and a word that no passage holds, do not count
    found = collection.coverage("Who designed the towers of xyzzy?", wanted)
    assert found == pytest.approx([1.0, 0.0, tower / whole])


@pytest.mark.parametrize("query", ["", "the of and", "xyzzy", "!?"])
def test_a_query_without_a_known_word_is_covered_by_none(collection, query):
    ids = [hit.passage.id for hit in collection.search("title", 2)]
    assert collection.coverage(query, ids) == [0.0, 0.0]
    assert collection.coverage("tower", []) == []
    assert collection.coverage("tower", ["no such passage"]) == [0.0]


def test_coverage_is_that_of_a_collection_that_never_had_what_was_removed(tmp_path):
    kept = [document("a", "Amber lies by the lake."), document("b", "The lake is deep."), document("c", "No water.")]
    gone = document("d", "Amber and amber and a lake.")
    one, other = Collection.open(tmp_path / "one"), Collection.open(tmp_path / "other")
    one.add([*kept, gone])
    one.remove(["d"])
    other.add(kept)
    for query in ("amber lake", "deep water", "amber"):
        ids = [hit.passage.id for hit in other.search(query, 3)]
        assert one.coverage(query, ids) == pytest.approx(other.coverage(query, ids))
