"""kill -9 at chosen and at random moments: nothing acknowledged is lost, nothing doubled, and the work resumes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from paramrag.store.collection import Collection
from paramrag.types import Document

from .factory import BASE, LAYOUT, RECIPE, adapter
from .victim import STEP, numbered

COUNT = 24


class Victim:
    """A process that writes to a collection."""

    def __init__(self, path: Path, verb: str, count: int = COUNT, commit: int | None = None) -> None:
        command = [sys.executable, str(Path(__file__).with_name("victim.py")), str(path), verb, str(count)]
        self.process = subprocess.Popen(
            command + ([] if commit is None else [str(commit)]), stdout=subprocess.PIPE, text=True
        )

    def acknowledged(self, kill_after_s: float | None = None) -> set[int]:
        """Waits for the end, killing it at a moment after its start if asked; returns what it said was done."""
        out = self.process.stdout
        assert out is not None
        if kill_after_s is not None:
            assert out.readline() == "ready\n"
            time.sleep(kill_after_s)
            self.process.kill()
        lines = out.read().split()
        out.close()
        self.process.wait()
        return {int(line) for line in lines if line.isdigit()}


def fill(path: Path, count: int = COUNT) -> Collection:
    collection = Collection.open(path)
    collection.add([numbered(number, "old") for number in range(count)])
    collection.put_recipe(RECIPE, BASE, LAYOUT)
    collection.put_adapters([adapter(passage_id) for passage_id in collection.passage_ids()])
    return collection


def held(collection: Collection) -> dict[str, list[str]]:
    texts = {passage.id: passage.text for passage in collection.passages()}
    return {record.id: [texts[passage_id] for passage_id in record.passage_ids] for record in collection.documents()}


def texts_of(document: Document) -> list[str]:
    return [passage.text for passage in document.passages]


def check_sound(collection: Collection) -> None:
    """Readers see whole documents and nothing else, whatever an interrupted write left."""
    assert collection.verify().problems == ()
    seen = held(collection)
    for name, texts in seen.items():
        assert texts in (texts_of(numbered(int(name[1:]), "old")), texts_of(numbered(int(name[1:]), "new")))
    found = [hit.passage.id for hit in collection.search("solo near old new", 1000)]
    assert sorted(found) == sorted(collection.passage_ids())
    for record in collection.recipes():
        ids = sorted(collection.encoded(record.base, record.recipe.id))
        assert set(ids) <= set(collection.passage_ids())
        np.testing.assert_array_equal(
            collection.gather(ids, base=BASE, recipe=RECIPE.id),
            np.array([adapter(i).row for i in ids]).reshape(len(ids), LAYOUT.size),
        )


def check_like_new(collection: Collection, expected: list[Document], tmp_path: Path) -> None:
    """After resuming: verified clean, and the same as a collection that was never interrupted."""
    report = collection.verify()
    assert report.ok, report
    fresh = Collection.open(tmp_path / "fresh")
    fresh.add(expected)
    assert held(collection) == held(fresh)
    assert collection.passages() == fresh.passages()
    for query in ("solo 3", "near 1", "old", "new 7"):
        assert collection.search(query, 12) == fresh.search(query, 12)


@pytest.mark.parametrize("commit", range(4))
def test_killed_around_each_commit_of_add(tmp_path, commit):
    victim = Victim(tmp_path / "c", "add", STEP, commit)
    assert victim.acknowledged() == set()
    assert victim.process.returncode == -signal.SIGKILL
    collection = Collection.open(tmp_path / "c")
    check_sound(collection)
    assert set(held(collection)) in (set(), {f"d{number:03}" for number in range(STEP)})
    expected = [numbered(number, "old") for number in range(STEP)]
    collection.add(expected)
    collection.compact()
    check_like_new(collection, expected, tmp_path)


@pytest.mark.parametrize("commit", range(8))
def test_killed_around_each_commit_of_a_replacement(tmp_path, commit):
    fill(tmp_path / "c", STEP)
    victim = Victim(tmp_path / "c", "change", STEP, commit)
    assert victim.acknowledged() == set()
    assert victim.process.returncode == -signal.SIGKILL
    collection = Collection.open(tmp_path / "c")
    check_sound(collection)
    assert len(held(collection)) == STEP
    expected = [numbered(number, "new") for number in range(STEP)]
    collection.add(expected)
    collection.compact()
    assert (
        collection.stats().adapters == 2 + STEP
    )  # the near ones and those of their own; those of the old versions went
    check_like_new(collection, expected, tmp_path)


@pytest.mark.parametrize("commit", range(6))
def test_killed_around_each_commit_of_remove(tmp_path, commit):
    fill(tmp_path / "c", 2 * STEP)
    victim = Victim(tmp_path / "c", "remove", STEP, commit)
    assert victim.acknowledged() == set()
    assert victim.process.returncode == -signal.SIGKILL
    collection = Collection.open(tmp_path / "c")
    check_sound(collection)
    left = {f"d{number:03}" for number in range(STEP)} & set(held(collection))
    assert len(left) in (0, STEP)
    if left:
        collection.remove(left)
    else:
        collection.add(numbered(2 * STEP - 1, "old"))  # any write completes what was begun
    check_like_new(collection, [numbered(number, "old") for number in range(STEP, 2 * STEP)], tmp_path)


@pytest.mark.parametrize("verb", ["add", "change", "remove", "put"] * 2)
def test_killed_at_a_random_moment(tmp_path, verb):
    if verb in ("change", "remove"):
        fill(tmp_path / "c")
    elif verb == "put":
        Collection.open(tmp_path / "c").add([numbered(number, "old") for number in range(COUNT)])
    done = Victim(tmp_path / "c", verb).acknowledged(kill_after_s=random.uniform(0, 0.8))
    collection = Collection.open(tmp_path / "c")
    check_sound(collection)
    seen = held(collection)
    for number in done:
        if verb == "remove":
            assert f"d{number:03}" not in seen
        else:
            assert seen[f"d{number:03}"] == texts_of(numbered(number, "new" if verb == "change" else "old"))
            if verb == "put":
                ids = {passage.id for passage in numbered(number, "old").passages}
                assert ids <= collection.encoded(BASE, RECIPE.id)
    if verb == "remove":
        collection.remove(list(seen))
        expected = []
    elif verb == "put":
        missing = set(collection.passage_ids()) - collection.encoded(BASE, RECIPE.id)
        collection.put_recipe(RECIPE, BASE, LAYOUT)
        collection.put_adapters([adapter(passage_id) for passage_id in missing])
        assert collection.verify().adapters == len(collection.passage_ids())
        expected = [numbered(number, "old") for number in range(COUNT)]
    else:
        expected = [numbered(number, "new" if verb == "change" else "old") for number in range(COUNT)]
        collection.add(expected)
    collection.compact()
    check_like_new(collection, expected, tmp_path)


@pytest.mark.parametrize("verbs", [("add", "add"), ("add", "change"), ("put", "change"), ("remove", "add")])
def test_one_of_two_writers_killed(tmp_path, verbs):
    if verbs[0] != "add":
        fill(tmp_path / "c", COUNT if verbs[0] == "put" else COUNT // 2)
    first, second = (Victim(tmp_path / "c", verb, COUNT // 2 if verb == "remove" else COUNT) for verb in verbs)
    first.acknowledged(kill_after_s=random.uniform(0.1, 0.6))
    done = second.acknowledged()
    assert second.process.returncode == 0
    assert done == set(range(COUNT))
    collection = Collection.open(tmp_path / "c")
    check_sound(collection)
    version = "new" if verbs[1] == "change" else "old"
    expected = [numbered(number, version) for number in range(COUNT)]
    collection.add(expected)
    collection.compact()
    check_like_new(collection, expected, tmp_path)
