"""Files into a collection: read, replaced, and what becomes of documents that a file no longer holds."""

import json
from pathlib import Path

import pytest

from paramrag.store.collection import Collection

from .factory import BASE, LAYOUT, RECIPE, adapter


@pytest.fixture
def collection(tmp_path):
    return Collection.open(tmp_path / "c")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


def test_files_and_folders_are_read_cut_and_replaced(collection, folder):
    (folder / "tower.txt").write_text(
        " ".join(f"Sentence {i} is about the Zorbik Tower by the lake." for i in range(20))
    )
    (folder / "lake.md").write_text("# The lake\n\nBoats cross it in summer.\n")
    (folder / "picture.txt").write_bytes(bytes(range(256)) * 4)
    report = collection.add(folder, words=50)
    assert (report.added, report.unchanged, len(report.skipped)) == (2, 0, 1)
    assert report.passages == len(collection.passages()) > 2
    assert "Boats" in collection.search("boat", 1)[0].passage.text
    assert collection.add([str(folder)], words=50).unchanged == 2
    (folder / "lake.md").write_text("# The lake\n\nIt is frozen in winter.\n")
    assert collection.add(folder, words=50).replaced == 1
    assert collection.search("boats", 3) == []
    assert len(collection.add(folder / "absent").skipped) == 1


def write_records(path, **texts):
    path.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))


def names(collection):
    return [record.id.rpartition("#")[2] for record in collection.documents()]


def test_a_record_that_left_its_corpus_file_is_removed_with_all_that_hung_on_it(collection, folder):
    corpus, other = folder / "facts.jsonl", folder / "facts.jsonl#old.txt"
    write_records(corpus, a="The gate is blue.", b="The mill is red.", c="The well is deep.")
    write_records(folder / "facts.jsonl.jsonl", z="The tower is tall.")
    other.write_text("The bridge is long.")
    assert collection.add(folder).added == 5
    collection.put_recipe(RECIPE, BASE, LAYOUT)
    collection.put_adapters([adapter(passage_id) for passage_id in collection.passage_ids()])
    write_records(corpus, a="The gate is blue.", c="The well is dry.")
    report = collection.add(corpus)
    assert (report.added, report.replaced, report.unchanged, report.removed, report.skipped) == (0, 1, 1, 1, ())
    assert names(collection) == ["a", "c", "old.txt", "z"]
    assert collection.search("mill", 3) == []
    assert len(collection.encoded(BASE, RECIPE.id)) == 3
    assert collection.verify().ok
    assert collection.add(folder).unchanged == 4


def test_what_was_there_of_a_file_that_cannot_be_read_any_more_stays_and_is_told(collection, folder):
    corpus, plain = folder / "facts.jsonl", folder / "notes.txt"
    write_records(corpus, a="The gate is blue.", b="The mill is red.")
    plain.write_text("The well is deep.")
    collection.add(folder)

    corpus.write_text('{"id": "a", "text": "The gate is blue."}\n{"id": "b", "te\n')
    report = collection.add(folder)
    assert [entry.reason.partition(";")[0] for entry in report.skipped[1:]] == [
        "what it gave before is kept (1 document)"
    ]
    assert report.skipped[0].reason.startswith("line 2: not valid JSON")

    for emptied in ("", "[]", '{"question": "Why?", "passages": []}\n'):
        corpus.write_text(emptied)
        plain.write_bytes(b"\0\1")
        report = collection.add(folder)
        assert (report.added, report.replaced, report.unchanged, report.removed) == (0, 0, 0, 0)
        assert [(Path(entry.path).name, "before is kept" in entry.reason) for entry in report.skipped] == [
            ("facts.jsonl", False),
            ("notes.txt", False),
            ("facts.jsonl", True),
            ("notes.txt", True),
        ]
        assert names(collection) == ["a", "b", str(plain.resolve())]


def test_a_collection_among_its_documents_is_not_read_as_one_of_them(folder):
    (folder / "tower.txt").write_text("The tower is tall.")
    (folder / "collection.json").write_text('{"text": "A record of the user\'s own."}')
    collection = Collection.open(folder / "mine")
    for _ in range(2):
        report = collection.add(folder)
        assert report.skipped == ()
    assert report.unchanged == 2
    (entry,) = collection.add(folder / "mine").skipped
    assert "a collection of ParamRAG" in entry.reason
