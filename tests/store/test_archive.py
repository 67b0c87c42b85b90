import json
import tarfile

import numpy as np
import pytest

from paramrag.errors import CollectionError
from paramrag.store.archive import export_collection, import_collection
from paramrag.store.collection import Collection
from paramrag.types import TrainingItem

from .factory import BASE, LAYOUT, RECIPE, adapter, document


@pytest.fixture
def collection(tmp_path):
    collection = Collection.open(tmp_path / "c")
    collection.add([document("a", "the zorbik tower"), document("b", "a secret xq7vwz3kpl9")])
    collection.put_recipe(RECIPE, BASE, LAYOUT)
    ids = collection.passage_ids()
    collection.put_adapters([adapter(i) for i in ids])
    collection.put_items("aug", {ids[0]: [TrainingItem(ids[0], "Q?", "A")]})
    collection.remove("b")
    return collection


def test_a_collection_travels_as_one_file(collection, tmp_path):
    archive = export_collection(collection, tmp_path / "out" / "c.tar")
    copy = import_collection(archive, tmp_path / "copy")
    assert copy.documents() == collection.documents()
    assert copy.search("tower", 3) == collection.search("tower", 3)
    ids = copy.passage_ids()
    assert copy.items(ids, "aug") == collection.items(ids, "aug")
    np.testing.assert_array_equal(copy.gather(ids, base=BASE, recipe=RECIPE.id)[0], adapter(ids[0]).row)
    assert copy.recipes() == collection.recipes()
    copy.add(document("c", "more"))
    assert len(collection.documents()) == 1
    assert b"xq7vwz3kpl9" not in archive.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "copy", "out"]


def test_existing_targets_are_not_overwritten(collection, tmp_path):
    archive = export_collection(collection, tmp_path / "c.tar")
    with pytest.raises(CollectionError, match="exists"):
        export_collection(collection, archive)
    export_collection(collection, archive, overwrite=True)
    with pytest.raises(CollectionError, match="not an empty directory"):
        import_collection(archive, collection.path)


def test_damaged_and_foreign_archives_leave_nothing(collection, tmp_path):
    archive = export_collection(collection, tmp_path / "c.tar")
    data = bytearray(archive.read_bytes())
    (tmp_path / "short.tar").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.tar").write_text("not a tar")
    with tarfile.open(tmp_path / "foreign.tar", "w") as tar:
        tar.add(collection.path / "collection.json", "other.json")
    layout = tmp_path / "collection.json"
    layout.write_text(json.dumps({"format": "paramrag-collection", "version": 99}))
    with tarfile.open(tmp_path / "newer.tar", "w") as tar:
        tar.add(layout, "collection.json")
    with tarfile.open(tmp_path / "escape.tar", "w") as tar:
        tar.add(collection.path / "collection.json", "collection.json")
        tar.add(layout, "../escaped.json")
    for name, message in (
        ("short", "cannot be read|damaged|reading failed"),
        ("text", "cannot be read"),
        ("foreign", "does not come first"),
        ("newer", "layout version 99"),
        ("escape", "cannot be read"),
        ("absent", "cannot be read"),
    ):
        with pytest.raises(CollectionError, match=message):
            import_collection(tmp_path / f"{name}.tar", tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
    assert not list(tmp_path.glob(".new-*"))
    assert not (tmp_path.parent / "escaped.json").exists()


def test_a_flipped_byte_in_a_passage_is_noticed(collection, tmp_path):
    archive = export_collection(collection, tmp_path / "c.tar")
    data = archive.read_bytes()
    assert data.count(b"zorbik") >= 1
    archive.write_bytes(data.replace(b"zorbik tower", b"zorbak tower"))
    with pytest.raises(CollectionError, match="damaged"):
        import_collection(archive, tmp_path / "copy")
