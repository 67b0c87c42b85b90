"""Encoding a collection: what is missing is made once, stored batch by batch, and failures are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from paramrag import Collection, Engine, StaticParameterizer
from paramrag.augment import AugmentReport
from paramrag.config import Recipe
from paramrag.errors import ConfigError, NotFoundError
from paramrag.parameterize import static
from paramrag.store.codec import size_bytes
from paramrag.types import Passage, TrainingItem
from tiny import make_passage, tiny_base

RECIPE = Recipe(layers="2-3", epochs=2)


class Prepared:
    """An augmenter that gives the prepared items, and counts the passages it was asked for."""

    id = "prepared"

    def __init__(self) -> None:
        self.report = AugmentReport()
        self.asked: list[str] = []
        self.items = {make_passage(number)[0].id: make_passage(number)[1] for number in range(12)}

    def __call__(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        self.asked += [passage.id for passage in passages]
        return [self.items[passage.id] for passage in passages]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(tiny_base())


def collection_of(path: Path, count: int) -> Collection:
    collection = Collection.open(path)
    collection.add([make_passage(number)[0] for number in range(count)])
    return collection


def test_encodes_what_is_missing_and_nothing_twice(tmp_path: Path, engine: Engine) -> None:
    collection, augment = collection_of(tmp_path / "c", 5), Prepared()
    parameterizer = StaticParameterizer(engine, RECIPE, augment=augment)
    seen: list[tuple[str, int, int | None]] = []
    report = parameterizer.encode(collection, progress=lambda *state: seen.append(state))
    assert (report.encoded, report.present, report.failed) == (5, 0, ())
    assert (seen[0], seen[-1]) == (("encode", 0, 5), ("encode", 5, 5))
    assert len(seen) > 2  # one batch, and yet it is told how it goes on
    assert seen == sorted(set(seen))
    assert collection.encoded(engine.fingerprint, RECIPE.id) == set(collection.passage_ids())
    again = parameterizer.encode(collection)
    assert (again.encoded, again.present) == (0, 5)
    assert len(augment.asked) == 5


def test_items_are_made_once_even_if_training_is_repeated(tmp_path: Path, engine: Engine) -> None:
    collection, augment = collection_of(tmp_path / "c", 3), Prepared()
    StaticParameterizer(engine, RECIPE, augment=augment).encode(collection)
    other = RECIPE.model_copy(update={"seed": 1})
    StaticParameterizer(engine, other, augment=augment).encode(collection)
    assert len(augment.asked) == 3
    assert {record.recipe.seed for record in collection.recipes()} == {0, 1}


def test_resumes_where_it_was_interrupted(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "BATCH_PASSAGES", {"cpu": 2, "cuda": 2})
    collection = collection_of(tmp_path / "c", 6)

    def stop_in_the_fifth(stage: str, done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    parameterizer = StaticParameterizer(engine, RECIPE, augment=Prepared())
    with pytest.raises(KeyboardInterrupt):
        parameterizer.encode(collection, progress=stop_in_the_fifth)
    assert len(collection.encoded(engine.fingerprint, RECIPE.id)) == 4
    report = parameterizer.encode(collection)
    assert (report.encoded, report.present) == (2, 4)
    whole = collection_of(tmp_path / "whole", 6)
    StaticParameterizer(engine, RECIPE, augment=Prepared()).encode(whole)
    ids = whole.passage_ids()
    np.testing.assert_allclose(
        collection.gather(ids, base=engine.fingerprint, recipe=RECIPE.id),
        whole.gather(ids, base=engine.fingerprint, recipe=RECIPE.id),
        atol=1e-4,
    )


def test_a_passage_without_items_is_reported_and_the_rest_goes_on(tmp_path: Path, engine: Engine) -> None:
    collection, augment = collection_of(tmp_path / "c", 3), Prepared()
    empty = make_passage(1)[0].id
    augment.items[empty] = []
    report = StaticParameterizer(engine, RECIPE, augment=augment).encode(collection)
    assert report.encoded == 2
    assert [failed.passage_id for failed in report.failed] == [empty]
    assert "no training item" in report.failed[0].reason


def test_some_passages_only(tmp_path: Path, engine: Engine) -> None:
    collection = collection_of(tmp_path / "c", 3)
    wanted = collection.passage_ids()[1:2]
    parameterizer = StaticParameterizer(engine, RECIPE, augment=Prepared())
    assert parameterizer.encode(collection, wanted).encoded == 1
    assert collection.encoded(engine.fingerprint, RECIPE.id) == set(wanted)
    with pytest.raises(NotFoundError, match="holds no passage 'nope'"):
        parameterizer.encode(collection, ["nope"])


def test_the_estimate_stores_nothing_and_counts_right(tmp_path: Path, engine: Engine) -> None:
    collection, augment = collection_of(tmp_path / "c", 5), Prepared()
    parameterizer = StaticParameterizer(engine, RECIPE, augment=augment)
    parameterizer.encode(collection, collection.passage_ids()[:2])
    estimate = parameterizer.estimate(collection)
    assert (estimate.passages, estimate.present, estimate.unaugmented) == (3, 2, 3)
    assert estimate.bytes == 3 * parameterizer.layout.size * 4
    small = StaticParameterizer(engine, parameterizer.recipe, storage="int4").estimate(collection)
    assert small.bytes == 3 * size_bytes(parameterizer.layout, "int4") < estimate.bytes / 5
    assert estimate.seconds > 0
    assert estimate.tokens > 0
    assert len(collection.encoded(engine.fingerprint, RECIPE.id)) == 2
    assert len(augment.asked) == 2


@pytest.mark.parametrize(("storage", "error"), [("int8", 0.01), ("int4", 0.1)])
def test_trained_adapters_are_stored_small_and_come_back_nearly_the_same(
    tmp_path: Path, engine: Engine, storage: str, error: float
) -> None:
    exact, small = collection_of(tmp_path / "exact", 3), collection_of(tmp_path / "small", 3)
    StaticParameterizer(engine, RECIPE, augment=Prepared()).encode(exact)
    StaticParameterizer(engine, RECIPE, augment=Prepared(), storage=storage).encode(small)
    rows, got = (
        found.gather(exact.passage_ids(), base=engine.fingerprint, recipe=RECIPE.id) for found in (exact, small)
    )
    assert 0 < np.linalg.norm(got - rows) / np.linalg.norm(rows) < error


def test_an_unknown_storage_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="did you mean 'int4'"):
        StaticParameterizer(engine, RECIPE, storage="int-4")


def test_rules_need_no_model(tmp_path: Path, engine: Engine) -> None:
    collection = Collection.open(tmp_path / "c")
    collection.add(Passage("The mill at Orrin was built by Teska Varn in 1871. It is made of red oak.", "Orrin Mill"))
    report = StaticParameterizer(engine, RECIPE).encode(collection)
    assert (report.encoded, report.failed) == (1, ())
    assert report.items >= 3
