import shutil
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model2vec import StaticModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from paramrag.errors import ConfigError
from paramrag.retrieve import Retriever, bm25, dense, hybrid, retriever
from paramrag.store.collection import Collection
from paramrag.types import Hit, Passage

# Two meanings, each with two words: a query finds what means the same without sharing a word.
WORDS = {"[UNK]": (0, 0), "tower": (1, 0), "spire": (0.9, 0.1), "lake": (0, 1), "pond": (0.1, 0.9)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    path = tmp_path_factory.mktemp("model") / "tiny"
    vectors = np.array(list(WORDS.values()), dtype=np.float32)
    StaticModel(vectors, tokenizer, config={"normalize": True}).save_pretrained(str(path))
    return path


@pytest.fixture
def collection(tmp_path):
    collection = Collection.open(tmp_path / "c")
    collection.add([Passage("tower"), Passage("lake"), Passage("tower lake")])
    return collection


def texts(hits):
    return [hit.passage.text for hit in hits]


class Counting:
    """An encoder that counts what it is asked."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, sentences):
        self.seen.extend(sentences)
        return np.array([[len(text), text.count("a"), 1.0] for text in sentences])


def test_dense_finds_by_meaning(collection, folder):
    search = dense(collection, str(folder))
    assert texts(search("spire", 3)) == ["tower", "tower lake", "lake"]
    assert texts(search("pond", 1)) == ["lake"]
    hit = search("tower", 1)[0]
    assert hit.score == pytest.approx(1.0)
    assert hit.document_id == hit.passage.id


def test_dense_embeds_each_passage_once_and_keeps_up(collection):
    encoder = Counting()
    search = dense(collection, encoder, name="counting")
    search("q", 3)
    search("r", 3)
    assert sorted(encoder.seen) == ["lake", "q", "r", "tower", "tower lake"]
    collection.add(Passage("new", title="T"))
    collection.remove(Passage("lake").id)
    again = Counting()
    other = dense(Collection.open(collection.path), again, name="counting")
    assert set(texts(other("q", 9))) == {"tower", "tower lake", "new"}
    assert sorted(again.seen) == ["T\nnew", "q"]
    assert set(texts(search("q", 9))) == {"tower", "tower lake", "new"}


def test_dense_is_exact_and_ties_go_by_passage_id(tmp_path):
    collection = Collection.open(tmp_path / "c")
    collection.add([Passage(f"{'a' * (i % 5)}{i:03}") for i in range(100)])
    encoder = Counting()
    passages = collection.passages()
    vectors = encoder.encode([passage.text for passage in passages])
    query = encoder.encode(["aa000"])[0]
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    expected = sorted(zip(-cosines.astype(np.float32).round(5), [p.id for p in passages], strict=True))
    for k in (1, 7, 100, 500):
        hits = dense(collection, encoder, name="exact")("aa000", k)
        assert len(hits) == min(k, 100)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert hits[0].score == pytest.approx(-float(expected[0][0]), abs=1e-4)
    same = [hit.passage.id for hit in hits if hit.score == hits[0].score]
    assert same == sorted(same)


def test_dense_without_anything_to_find(tmp_path, collection, folder):
    assert dense(Collection.open(tmp_path / "empty"), str(folder))("tower", 3) == []
    search = dense(collection, str(folder))
    assert search("", 3) == []
    assert search("tower", 0) == []
    assert search("xyzzy", 3) == []
    with pytest.raises(ConfigError, match="-1"):
        search("tower", -1)


def test_dense_says_which_extra_is_missing(collection, folder, monkeypatch):
    with pytest.raises(ConfigError, match=r"paramrag\[sentence-transformers\]"):
        dense(collection, "BAAI/bge-small-en")
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(ConfigError, match=r"paramrag\[dense\]"):
        dense(collection, str(folder))


def test_dense_says_when_a_model_cannot_be_loaded(collection, folder, tmp_path):
    (tmp_path / "broken").mkdir()
    shutil.copy(folder / "model.safetensors", tmp_path / "broken")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        dense(collection, str(tmp_path / "broken"))
    (tmp_path / "broken/model.safetensors").write_bytes(b"short")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        dense(collection, str(tmp_path / "broken"))
    with pytest.raises(ConfigError, match="without a name"):
        dense(collection, Counting())


def test_another_model_in_the_same_folder_has_its_own_vectors(collection, folder, tmp_path):
    first = dense(collection, str(folder))
    assert texts(first("spire", 1)) == ["tower"]
    model = StaticModel.from_pretrained(str(folder))
    swapped = StaticModel(model.embedding[:, ::-1].copy(), model.tokenizer)
    swapped.save_pretrained(str(tmp_path / "tiny"))
    second = dense(collection, str(tmp_path / "tiny"))
    assert texts(second("spire", 1)) == ["tower"]
    assert not np.array_equal(collection.vectors(second._name)[1], collection.vectors(first._name)[1])


def fake(order):
    passages = {name: Passage(name) for name in "abcdef"}
    return lambda query, k: [Hit(passages[name], name, 99.0 - i) for i, name in enumerate(order)][:k]


def test_hybrid_adds_reciprocal_ranks():
    hits = hybrid(fake("abc"), fake("cad"))("q", 10)
    assert texts(hits) == ["a", "c", *sorted("bd", key=lambda name: (-{"b": 1 / 62, "d": 1 / 63}[name], name))]
    assert hits[0].score == pytest.approx(1 / 61 + 1 / 62)
    assert hits[1].score == pytest.approx(1 / 63 + 1 / 61)
    assert texts(hybrid(fake("abc"), fake("cad"))("q", 1)) == ["a"]
    assert hybrid(fake("abc"), fake(""))("q", 0) == []


@given(st.lists(st.permutations("abcdef"), min_size=2, max_size=4), st.integers(0, 8))
def test_hybrid_does_not_depend_on_the_order_of_its_parts(orders, k):
    forward = hybrid(*[fake(order) for order in orders])("q", k)
    backward = hybrid(*[fake(order) for order in reversed(orders)])("q", k)
    assert [hit.score for hit in forward] == pytest.approx([hit.score for hit in backward])
    assert len(forward) == min(k, 6)


def test_hybrid_checks_what_it_gets():
    for wrong in (lambda: hybrid(fake("a")), lambda: hybrid(fake("a"), fake("b"), constant=-1)):
        with pytest.raises(ConfigError):
            wrong()
    with pytest.raises(ConfigError):
        hybrid(fake("a"), fake("b"), depth=0)
    with pytest.raises(ConfigError, match="-2"):
        hybrid(fake("a"), fake("b"))("q", -2)


def test_specs_name_retrievers(collection, folder):
    assert texts(retriever("bm25", collection)("lake", 1)) == ["lake"]
    assert texts(retriever(f"dense:{folder}", collection)("pond", 1)) == ["lake"]
    assert set(texts(retriever(f"hybrid:{folder}", collection)("tower", 3))) == {"tower", "tower lake", "lake"}
    assert isinstance(bm25(collection), Retriever)


def test_a_function_is_a_retriever(collection):
    own = fake("ab")
    assert retriever(own, collection) is own


@pytest.mark.parametrize("spec", ["bm52", "", "dense:", "hybrid:", "bm25:x", 7, None])
def test_wrong_specs_are_refused(collection, spec):
    with pytest.raises(ConfigError, match=r"bm25|int|NoneType"):
        retriever(spec, collection)
