import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lance
import numpy as np
import pytest
from filelock import FileLock

from paramrag.errors import CollectionError, ConfigError, CorpusError, MismatchError, NotFoundError
from paramrag.store.collection import Collection
from paramrag.store.layout import AdapterLayout
from paramrag.types import Passage, TrainingItem

from .factory import BASE, LAYOUT, RECIPE, adapter, document


@pytest.fixture
def collection(tmp_path):
    return Collection.open(tmp_path / "c")


def encode(collection, ids, salt="", dtype="fp32"):
    collection.put_recipe(RECIPE, BASE, LAYOUT)
    collection.put_adapters([adapter(passage_id, salt) for passage_id in ids], dtype=dtype)


# Opening


def test_opening_creates_and_opening_again_finds(tmp_path):
    Collection.open(tmp_path / "c").add(document("d", "one"))
    again = Collection.open(tmp_path / "c", create=False)
    assert [record.id for record in again.documents()] == ["d"]
    assert json.loads((tmp_path / "c/collection.json").read_text())["version"] == 1


def test_an_absent_collection_is_created_only_on_request(tmp_path):
    with pytest.raises(NotFoundError, match="no collection"):
        Collection.open(tmp_path / "c", create=False)
    assert not (tmp_path / "c").exists()


def test_a_foreign_directory_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(CollectionError, match=r"thesis\.tex"):
        Collection.open(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(CollectionError, match="is a file"):
        Collection.open(tmp_path / "thesis.tex")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": "paramrag-collection", "version": 2, "created_by": "paramrag 9"}', "layout version 2.*upgrade"),
        ('{"format": "other", "version": 1}', "no ParamRAG collection"),
        ("{", "not a layout file"),
        ("[]", "not a layout file"),
    ],
)
def test_newer_and_foreign_layouts_are_refused(tmp_path, content, message):
    (tmp_path / "collection.json").write_text(content)
    with pytest.raises(CollectionError, match=message):
        Collection.open(tmp_path)


def _open_and_add(path, name):
    Collection.open(path).add(document(name, f"text of {name}", "shared text", title="T"))


def test_processes_that_create_at_once_make_one_collection(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open_and_add, args=(tmp_path / "c", f"d{i}")) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    collection = Collection.open(tmp_path / "c")
    assert [record.id for record in collection.documents()] == ["d0", "d1", "d2"]
    assert len(collection.passage_ids()) == 4
    assert collection.verify().ok


def test_an_empty_collection_answers_everything(collection):
    assert collection.documents() == []
    assert collection.passage_ids() == []
    assert collection.passages() == []
    assert collection.search("anything", 3) == []
    assert collection.recipes() == []
    assert collection.encoded("b", "r") == set()
    assert collection.items(["x"], "aug") == {}
    assert collection.document_of([]) == {}
    assert collection.verify().ok
    assert collection.stats().passages == 0
    collection.compact()


def test_lancedb_opens_the_same_directory(collection):
    import lancedb

    collection.add(document("d", "the zorbik tower", "a lake"))
    table = lancedb.connect(str(collection.path)).open_table("passages")
    assert table.count_rows() == 2
    found = table.search("towers", query_type="fts", fts_columns="body").limit(5).to_list()
    assert [row["id"] for row in found] == [Passage("the zorbik tower", "d").id]


def test_the_store_never_imports_torch(tmp_path):
    code = (
        "import sys, paramrag.retrieve; from paramrag.store import Collection; from paramrag.types import Passage;"
        f"c = Collection.open({str(tmp_path / 'c')!r}); c.add(Passage('hello world')); assert c.search('hello', 1);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Documents and passages


def test_adding_again_is_a_no_op(collection):
    documents = [document("a", "one", "two"), document("b", "three")]
    first = collection.add(documents)
    assert (first.added, first.replaced, first.unchanged, first.passages) == (2, 0, 0, 3)
    revision = collection.revision
    again = collection.add(documents)
    assert (again.added, again.replaced, again.unchanged, again.passages) == (0, 0, 2, 0)
    assert collection.revision == revision


def test_a_changed_document_replaces_its_passages(collection):
    collection.add([document("a", "keeps this", "drops this"), document("b", "other")])
    kept = Passage("keeps this", "a").id
    encode(collection, [kept, Passage("drops this", "a").id])
    report = collection.add(document("a", "brings this", "keeps this"))
    assert (report.added, report.replaced, report.unchanged) == (0, 1, 0)
    assert [passage.text for passage in collection.passages()] == ["brings this", "keeps this", "other"]
    assert collection.encoded(BASE, RECIPE.id) == {kept}
    assert collection.encoded(BASE, RECIPE.id, [kept, "none"]) == {kept}
    assert collection.encoded(BASE, RECIPE.id, ["none"]) == set()
    assert collection.search("drops", 3) == []
    assert collection.verify().ok


def test_passages_come_as_asked_with_their_span(collection):
    collection.add(document("a", "first", "second", title="T"))
    first, second = collection.passage_ids()
    assert collection.passages([second, first, second]) == [
        Passage("second", "T", 6, 12),
        Passage("first", "T", 0, 5),
        Passage("second", "T", 6, 12),
    ]
    with pytest.raises(NotFoundError, match="'nope'"):
        collection.passages([first, "nope", "also not"])


def test_a_shared_passage_lives_while_one_document_holds_it(collection):
    shared = Passage("said twice", "T")
    collection.add([document("b", "said twice", "of b", title="T"), document("a", "of a", "said twice", title="T")])
    encode(collection, [shared.id])
    assert collection.document_of([shared.id]) == {shared.id: "a"}
    assert collection.passages([shared.id])[0].start == 5
    report = collection.remove("a")
    assert (report.documents, report.passages, report.adapters) == (1, 1, 0)
    assert collection.document_of([shared.id]) == {shared.id: "b"}
    assert collection.passages([shared.id])[0].start == 0
    assert len(collection.gather([shared.id], base=BASE, recipe=RECIPE.id)) == 1
    assert (collection.remove(["b"]).passages, collection.stats().adapters) == (2, 0)
    with pytest.raises(NotFoundError):
        collection.gather([shared.id], base=BASE, recipe=RECIPE.id)


def test_single_passages_are_documents_with_their_own_id(collection):
    passage = Passage("on its own", "T", 3, 13)
    assert collection.add([passage, passage]).added == 1
    assert collection.document_of([passage.id]) == {passage.id: passage.id}
    assert collection.passages() == [passage]
    collection.remove(passage.id)
    assert collection.passages() == []


def test_a_document_that_comes_twice_in_one_call_is_kept_in_its_later_form(collection):
    report = collection.add([document("a", "old"), document("a", "new"), document("a", "new")])
    assert (report.added, report.replaced, report.unchanged) == (1, 1, 1)
    assert [passage.text for passage in collection.passages()] == ["new"]


def test_strange_names_and_texts_survive(collection):
    name, text = 'it\'s "a"; DROP -- \\ \n %_', "nul \0 tab \t emoji 🗼 it's"
    collection.add([document(name, text, "", title="'"), document("", "nameless")])
    assert [record.id for record in collection.documents()] == ["", name]
    assert {passage.text for passage in collection.passages()} == {text, "", "nameless"}
    assert collection.remove([name]).documents == 1
    assert [record.id for record in collection.documents()] == [""]
    assert collection.verify().ok


def test_text_that_is_not_unicode_is_refused_before_anything_is_written(collection):
    with pytest.raises(CorpusError, match="not valid Unicode"):
        collection.add([document("fine", "text"), document("broken", "half a \ud800 pair")])
    assert collection.documents() == []
    assert collection.verify().ok


def test_what_cannot_be_added_is_named(collection):
    with pytest.raises(ConfigError, match="int"):
        collection.add([3])


def test_many_documents_take_few_commits(collection):
    collection.add(document(f"d{i:04}", f"text number {i}") for i in range(3000))
    assert len(collection.documents()) == 3000
    assert collection.revision < 10


def test_removing_an_unknown_document_removes_nothing(collection):
    collection.add([document("a", "one"), document("b", "two")])
    with pytest.raises(NotFoundError, match=r"'x'.*1 more"):
        collection.remove(["a", "x", "y"])
    assert len(collection.documents()) == 2


def test_progress_is_told(collection):
    told = []
    collection.add(document("a", "one"), progress=lambda *step: told.append(step))
    collection.remove("a", progress=lambda *step: told.append(step))
    collection.compact(progress=lambda *step: told.append(step))
    assert told[:3] == [("add", 1, None), ("index", 0, 1), ("index", 1, 1)]
    assert {stage for stage, _, _ in told} == {"add", "index", "remove", "compact"}


# Readers and writers


def test_a_reader_sees_what_another_writes(tmp_path):
    writer, reader = Collection.open(tmp_path / "c"), Collection.open(tmp_path / "c")
    assert reader.search("tower", 3) == []
    writer.add(document("a", "the zorbik tower"))
    (hit,) = reader.search("tower", 3)
    writer.put_recipe(RECIPE, BASE, LAYOUT)
    writer.put_adapters([adapter(hit.passage.id)])
    before = reader.gather([hit.passage.id], base=BASE, recipe=RECIPE.id)
    writer.put_adapters([adapter(hit.passage.id, "new")])
    after = reader.gather([hit.passage.id], base=BASE, recipe=RECIPE.id)
    assert not np.array_equal(before, after)
    writer.compact()
    assert reader.search("tower", 3)[0].passage == hit.passage
    np.testing.assert_array_equal(reader.gather([hit.passage.id], base=BASE, recipe=RECIPE.id), after)
    writer.remove("a")
    assert reader.search("tower", 3) == []
    with pytest.raises(NotFoundError):
        reader.gather([hit.passage.id], base=BASE, recipe=RECIPE.id)


def test_a_writer_that_cannot_get_the_lock_says_so(tmp_path):
    collection = Collection.open(tmp_path / "c", lock_timeout_s=0.05)
    with FileLock(str(tmp_path / "c/.lock")), pytest.raises(CollectionError, match="locked; another process"):
        collection.add(document("a", "one"))
    collection.add(document("a", "one"))
    assert len(collection.documents()) == 1


# Training items


def test_items_round_trip_and_go_with_their_passage(collection):
    collection.add([document("a", "one", "two"), document("b", "three")])
    one, two, three = collection.passage_ids()
    items = {
        one: [
            TrainingItem(one, "Who?", "one", "qa", (0, 3)),
            TrainingItem(one, "Ünïcode?", 'quote "', "cloze"),
        ],
        two: [],
    }
    collection.put_items("aug", items)
    assert collection.items([one, two, three], "aug") == items
    assert collection.items([one], "other") == {}
    collection.put_items("aug", {one: [TrainingItem(one, "New?", "yes")]})
    assert [item.question for item in collection.items([one], "aug")[one]] == ["New?"]
    assert collection.stats().items == 1
    assert collection.remove("a").items == 1
    assert collection.items([one, two], "aug") == {}


def test_items_of_another_or_an_unknown_passage_are_refused(collection):
    collection.add(document("a", "one"))
    (one,) = collection.passage_ids()
    with pytest.raises(MismatchError):
        collection.put_items("aug", {one: [TrainingItem("other", "Q", "A")]})
    with pytest.raises(NotFoundError, match="others were stored"):
        collection.put_items("aug", {one: [], "gone": []})
    assert collection.items([one], "aug") == {one: []}


# Adapters


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8", "int4"])
def test_gather_gives_float32_rows_in_the_order_asked(collection, dtype):
    collection.add(document("a", *[f"passage {i}" for i in range(5)]))
    ids = collection.passage_ids()
    encode(collection, ids, dtype=dtype)
    asked = [ids[3], ids[0], ids[3]]
    for _ in ("from disk", "from memory"):
        rows = collection.gather(asked, base=BASE, recipe=RECIPE.id)
        assert rows.dtype == np.float32
        assert rows.shape == (3, LAYOUT.size)
        np.testing.assert_allclose(
            rows, np.stack([adapter(i).row for i in asked]), atol=0.5 if dtype == "int4" else 0.03
        )
        rows[:] = 0  # the caller's own copy: must not reach the cache
    assert collection.gather([], base=BASE, recipe=RECIPE.id).shape == (0, LAYOUT.size)


def test_rows_of_different_dtypes_live_together(collection):
    collection.add(document("a", "one", "two"))
    one, two = collection.passage_ids()
    encode(collection, [one], dtype="fp32")
    encode(collection, [two], dtype="int8")
    rows = collection.gather([two, one], base=BASE, recipe=RECIPE.id)
    np.testing.assert_array_equal(rows[1], adapter(one).row)
    np.testing.assert_allclose(rows[0], adapter(two).row, atol=0.03)


def test_putting_an_adapter_again_replaces_it(collection):
    collection.add(document("a", "one", "two"))
    ids = collection.passage_ids()
    encode(collection, ids)
    collection.gather(ids, base=BASE, recipe=RECIPE.id)
    encode(collection, ids[:1], "again")
    encode(collection, ids[:1], "again")
    rows = collection.gather(ids, base=BASE, recipe=RECIPE.id)
    np.testing.assert_array_equal(rows, np.stack([adapter(ids[0], "again").row, adapter(ids[1]).row]))
    assert collection.verify().adapters == 2
    assert collection.recipes()[0].adapters == 2


def test_gather_lists_what_is_missing(collection):
    collection.add(document("a", "one", "two"))
    one, two = collection.passage_ids()
    with pytest.raises(NotFoundError, match="put_recipe"):
        collection.gather([one], base=BASE, recipe=RECIPE.id)
    encode(collection, [one])
    with pytest.raises(NotFoundError, match=f"2 of 3.*{two}, unknown"):
        collection.gather([two, one, "unknown"], base=BASE, recipe=RECIPE.id)


def test_adapters_of_another_layout_recipe_or_passage_are_refused(collection):
    collection.add(document("a", "one"))
    (one,) = collection.passage_ids()
    other = AdapterLayout(LAYOUT.layers, LAYOUT.modules, 4, LAYOUT.alpha)
    with pytest.raises(NotFoundError, match="put_recipe"):
        collection.put_adapters([adapter(one)])
    collection.put_recipe(RECIPE, BASE, LAYOUT)
    collection.put_recipe(RECIPE, BASE, LAYOUT)
    with pytest.raises(MismatchError, match=r"rank 2.*rank 4"):
        collection.put_recipe(RECIPE, BASE, other)
    with pytest.raises(MismatchError, match=r"rank 2.*rank 4"):
        collection.put_adapters([adapter(one, layout=other)])
    with pytest.raises(NotFoundError, match="others were stored"):
        collection.put_adapters([adapter(one), adapter("gone")])
    assert collection.encoded(BASE, RECIPE.id) == {one}


def test_an_adapter_is_found_alone_or_by_base_and_recipe(collection):
    collection.add(document("a", "one"))
    (one,) = collection.passage_ids()
    with pytest.raises(NotFoundError):
        collection.adapter(one)
    encode(collection, [one])
    assert collection.adapter(one).stats == {"loss": 0.5, "steps": 3.0}
    assert collection.adapter(one).key == adapter(one).key
    assert collection.layout(BASE, RECIPE.id) == LAYOUT
    collection.put_recipe(RECIPE, "second", LAYOUT)
    collection.put_adapters([adapter(one, base="second")])
    with pytest.raises(ConfigError, match="2 adapters"):
        collection.adapter(one)
    assert collection.adapter(one, base="second").key.base == "second"
    with pytest.raises(NotFoundError, match="base 'third'"):
        collection.adapter(one, base="third")


def test_the_cache_is_bounded_and_forgets_what_is_removed(tmp_path):
    collection = Collection.open(tmp_path / "c", cache_bytes=3 * 4 * LAYOUT.size)
    collection.add([document(f"d{i}", f"passage {i}") for i in range(6)])
    ids = collection.passage_ids()
    encode(collection, ids)
    collection.gather(ids, base=BASE, recipe=RECIPE.id)
    assert collection.stats().cache_bytes == 3 * 4 * LAYOUT.size
    collection.remove([f"d{i}" for i in range(6)])
    assert collection.stats().cache_bytes == 0


# Care


def test_verify_finds_damage(collection):
    collection.add(document("a", "one", "two"))
    one, two = collection.passage_ids()
    encode(collection, [one, two])
    collection.put_items("aug", {one: [TrainingItem(one, "Q", "A")]})
    report = collection.verify()
    assert (report.ok, report.documents, report.passages, report.items, report.adapters) == (True, 1, 2, 1, 2)
    adapters_table = next(collection.path.glob("adapters_*.lance"))
    lance.dataset(adapters_table).update({"row": "X'0102'"}, where=f"passage_id = '{one}'")
    lance.dataset(collection.path / "passages.lance").update({"body": "'changed'"}, where=f"id = '{two}'")
    lance.dataset(next(collection.path.glob("items_*.lance"))).update({"items": "'nonsense'"})
    problems = " ".join(collection.verify().problems)
    assert f"adapter of passage '{one}'" in problems
    assert f"passage '{two}' does not say" in problems
    assert "training items" in problems
    lance.dataset(collection.path / "passages.lance").delete(f"id = '{two}'")
    assert any("have no row" in problem for problem in collection.verify().problems)
    with pytest.raises(CollectionError, match="run `verify`"):
        collection.passages([two])


@pytest.mark.parametrize("table", ["passages", "documents", "items_", "adapters_"])
def test_verify_reports_files_that_cannot_be_read(collection, table):
    collection.add(document("a", "one", "two"))
    ids = collection.passage_ids()
    encode(collection, ids)
    collection.put_items("aug", {ids[0]: [TrainingItem(ids[0], "Q", "A")]})
    (data,) = collection.path.glob(f"{table}*.lance/data/*.lance")
    data.write_bytes(data.read_bytes()[:100])
    assert Collection.open(collection.path).verify().problems


def test_threads_share_a_collection(collection):
    def work(number):
        collection.add([document(f"{number}-{i}", f"text {number} {i}", "shared", title="T") for i in range(5)])
        return len(collection.search("shared", 99)), len(collection.search(f"text {number}", 3))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(8))) == [(1, 3)] * 8
    assert len(collection.documents()) == 40
    assert len(collection.passage_ids()) == 41
    assert collection.verify().ok


def test_many_small_writes_do_not_leave_many_files(collection):
    collection.add(document("d", *[f"text {number}" for number in range(110)]))
    ids = collection.passage_ids()
    for passage_id in ids:
        encode(collection, [passage_id])
    np.testing.assert_array_equal(
        collection.gather(ids, base=BASE, recipe=RECIPE.id), np.stack([adapter(i).row for i in ids])
    )
    assert len(list(collection.path.glob("adapters_*.lance/data/*"))) > 100  # old versions, kept for a minute
    (table,) = collection.path.glob("adapters_*.lance")
    assert len(lance.dataset(table).get_fragments()) <= 10
    assert collection.verify().ok


def test_stats_count_what_readers_see(collection):
    collection.add([document("a", "one", "two"), document("b", "two", title="a")])
    encode(collection, collection.passage_ids())
    stats = collection.stats()
    assert (stats.documents, stats.passages, stats.adapters) == (2, 2, 2)
    assert stats.recipes == {f"{RECIPE.id} @ {BASE}": 2}
    assert stats.size_bytes > 1000


def test_compact_erases_what_was_removed_and_keeps_the_rest(collection):
    marker = "xq7vwz3kpl9"
    collection.add([document(f"d{i}", f"plain text {i}") for i in range(20)])
    collection.add(document(f"secret-{marker}", f"the {marker} secret", title=marker.upper()))
    secret = Passage(f"the {marker} secret", marker.upper()).id
    encode(collection, collection.passage_ids())
    collection.put_items("aug", {secret: [TrainingItem(secret, f"What is {marker}?", marker)]})
    collection.put_vectors("model", [secret], np.full((1, 4), 0.123456, dtype=np.float32))
    row, vector = adapter(secret).row.tobytes(), np.full(4, 0.123456, dtype=np.float32).tobytes()
    traces = [marker.encode(), marker.upper().encode(), secret.encode(), row[:64], vector]

    def on_disk(trace: bytes) -> bool:
        return any(trace in path.read_bytes() for path in collection.path.rglob("*") if path.is_file())

    assert on_disk(marker.encode())
    assert on_disk(row[:64])
    collection.remove(f"secret-{marker}")
    report = collection.compact()
    assert [trace for trace in traces if on_disk(trace)] == []
    assert report.bytes_after < report.bytes_before
    assert report.files_after < report.files_before
    assert len(collection.search("plain", 30)) == 20
    assert len(collection.gather(collection.passage_ids(), base=BASE, recipe=RECIPE.id)) == 20
    assert collection.verify().ok
