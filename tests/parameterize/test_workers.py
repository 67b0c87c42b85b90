"""Training in processes of its own gives what training here gives, and none outlives the program that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from paramrag import Collection, Engine, StaticParameterizer
from paramrag.config import Recipe
from paramrag.errors import ConfigError, TrainingError
from paramrag.parameterize.static import Training
from paramrag.parameterize.workers import Workers
from paramrag.types import Adapter, Passage, TrainingItem
from tiny import make_passage

RECIPE = Recipe(layers="last", epochs=2)


@pytest.fixture(scope="module")
def engine(tiny_model_folder: Path) -> Engine:
    return Engine(str(tiny_model_folder))


def filled(directory: Path, count: int) -> Collection:
    collection = Collection.open(directory)
    made = [make_passage(number) for number in range(count)]
    collection.add([passage for passage, _ in made])
    collection.put_items("items", {passage.id: items for passage, items in made})
    return collection


def training(engine: Engine) -> Training:
    return Training(RECIPE, engine.layout(RECIPE), 1 << 30, None)


def test_two_workers_give_the_rows_of_none(tmp_path: Path, engine: Engine) -> None:
    alone, shared = filled(tmp_path / "alone", 11), filled(tmp_path / "shared", 11)
    for collection in (alone, shared):  # one passage cannot be trained: the others are
        collection.put_items("items", {sorted(collection.passage_ids())[3]: []})
    seen: list[tuple[str, int, int | None]] = []
    reports = [
        StaticParameterizer(engine, RECIPE, workers=1).encode(alone),
        StaticParameterizer(engine, RECIPE, workers=2).encode(shared, progress=lambda *state: seen.append(state)),
    ]
    assert seen == sorted(set(seen))
    assert (seen[0], seen[-1]) == (("encode", 0, 11), ("encode", 11, 11))
    assert len(seen) > 3  # two batches, and workers tell how they go on
    assert [report.encoded for report in reports] == [10, 10]
    assert reports[0].failed == reports[1].failed
    assert reports[0].items == reports[1].items
    ids = sorted(set(alone.passage_ids()) - {reports[0].failed[0].passage_id})
    given = [c.gather(ids, base=engine.fingerprint, recipe=RECIPE.id) for c in (alone, shared)]
    np.testing.assert_allclose(given[0], given[1], atol=2e-4)  # other company, other rounding


def test_workers_say_nothing_themselves(tmp_path: Path, tiny_model_folder: Path) -> None:
    filled(tmp_path / "c", 8)
    command = [sys.executable, "-m", "paramrag", "encode", str(tmp_path / "c"), "--model", str(tiny_model_folder)]
    ran = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "made 8 adapters" in ran.stdout


def test_a_worker_that_dies_is_said(engine: Engine) -> None:
    passage, items = make_passage(0)
    with Workers(engine.base, training(engine), 1) as workers:
        assert isinstance(next(workers.map([[(passage, items)]]))[0], Adapter)
        workers._all[0].kill()
        with pytest.raises(TrainingError, match="fewer workers"):
            list(workers.map([[(passage, items)]]))


def test_an_error_in_a_worker_is_raised_here(engine: Engine) -> None:
    passage = Passage("The lamp is red.", "Lamp")
    with Workers(engine.base, training(engine), 1) as workers:
        with pytest.raises(TypeError, match="NoneType"):
            list(workers.map([[(passage, None)]]))  # type: ignore[list-item]
        results = next(workers.map([[(passage, [TrainingItem(passage.id, "Colour?", "red")])]]))
    assert isinstance(results[0], Adapter)


def test_workers_end_with_the_program_that_started_them(tmp_path: Path, tiny_model_folder: Path) -> None:
    filled(tmp_path / "c", 400)
    recipe = tmp_path / "slow.yaml"
    recipe.write_text("epochs: 200\nlayers: last\n", encoding="utf-8")
    command = [sys.executable, "-m", "paramrag", "encode", str(tmp_path / "c"), "--model", str(tiny_model_folder)]
    process = subprocess.Popen(
        [*command, "--recipe", str(recipe), "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(children(process.pid)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    started = children(process.pid)
    assert len(started) == 2
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while any(map(running, started)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(running, started))


def test_workers_below_one_are_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="workers is 0"):
        StaticParameterizer(engine, RECIPE, workers=0)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
