"""A collection from which documents were removed answers as one that never had them, whatever came before."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from paramrag.errors import NotFoundError
from paramrag.store.collection import Collection
from paramrag.types import Document, TrainingItem

from .factory import BASE, LAYOUT, RECIPE, adapter, document

NAMES = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.lists(
    st.sampled_from(["red tower", "blue tower", "red lake", "a lake", "boats on a lake", "tower", ""]), max_size=4
)
QUERIES = ("tower", "red", "lake boats", "blue red")


class Forgetting(RuleBasedStateMachine):
    """Adds, changes, encodes, removes and compacts, beside a plain dictionary of what should be left."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.collection = Collection.open(Path(self.folder.name) / "grown")
        self.collection.put_recipe(RECIPE, BASE, LAYOUT)
        self.reader = Collection.open(self.collection.path)
        self.documents: dict[str, Document] = {}
        self.encoded: set[str] = set()
        self.fresh_count = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def live(self) -> set[str]:
        return {passage.id for held in self.documents.values() for passage in held.passages}

    @rule(names=st.lists(NAMES, min_size=1, max_size=3, unique=True), texts=TEXTS)
    def add(self, names, texts):
        added = [document(name, *texts, title="T") for name in names]
        self.collection.add(added)
        self.documents.update({one.id: one for one in added})
        self.encoded &= self.live()

    @precondition(lambda self: self.documents)
    @rule(data=st.data())
    def remove(self, data):
        names = data.draw(st.lists(st.sampled_from(sorted(self.documents)), min_size=1, unique=True))
        self.collection.remove(names)
        for name in names:
            del self.documents[name]
        self.encoded &= self.live()

    @precondition(lambda self: self.live())
    @rule(data=st.data(), dtype=st.sampled_from(["fp32", "bf16"]))
    def encode(self, data, dtype):
        ids = data.draw(st.lists(st.sampled_from(sorted(self.live())), min_size=1, unique=True))
        self.collection.put_adapters([adapter(passage_id) for passage_id in ids], dtype=dtype)
        self.collection.put_items("aug", {i: [TrainingItem(i, "Q?", "A")] for i in ids})
        self.collection.gather(ids, base=BASE, recipe=RECIPE.id)
        self.encoded |= set(ids)

    @rule()
    def compact(self):
        self.collection.compact()

    @invariant()
    def same_as_one_that_never_had_more(self):
        self.fresh_count += 1
        fresh = Collection.open(Path(self.folder.name) / f"fresh{self.fresh_count}")
        if self.documents:
            fresh.add(list(self.documents.values()))
        for collection in (self.collection, self.reader):
            assert collection.documents() == fresh.documents()
            assert collection.passages() == fresh.passages()
            assert collection.document_of(fresh.passage_ids()) == fresh.document_of(fresh.passage_ids())
            for query in QUERIES:
                assert collection.search(query, 5) == fresh.search(query, 5)
            assert collection.encoded(BASE, RECIPE.id) == self.encoded
            ids = sorted(self.encoded)
            assert set(collection.items(collection.passage_ids(), "aug")) == self.encoded
            rows = collection.gather(ids, base=BASE, recipe=RECIPE.id)
            np.testing.assert_allclose(
                rows, np.array([adapter(i).row for i in ids]).reshape(len(ids), LAYOUT.size), rtol=2**-8
            )
            for gone in set(fresh.passage_ids()) - self.encoded:
                with pytest.raises(NotFoundError):
                    collection.gather([gone], base=BASE, recipe=RECIPE.id)
        assert self.collection.verify().ok


TestForgetting = Forgetting.TestCase
TestForgetting.settings = settings(
    max_examples=6, stateful_step_count=6, deadline=None, suppress_health_check=list(HealthCheck)
)
