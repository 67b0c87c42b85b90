"""The command line in this process, and small collections to run it on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from paramrag.cli import app

RECIPE = "rank: 1\nepochs: 2\nlearning_rate: 0.01\nlayers: all\naugmentation:\n  augmenter: rules\n  questions: 4\n"
TEXTS = {
    "tower.txt": "The Zorbik Tower stands in Port Quell. Ottilie Varn designed the Zorbik Tower in 1912. "
    "The tower is 84 metres high, and its lamp is fed with whale oil.",
    "mill.txt": "The mill at Orrin was built by Teska Varn in 1871. It grinds barley for the whole valley of Orrin. "
    "The river Ladd drives the mill at Orrin.",
    "ferry.md": "# Ferry of Brask\n\nThe ferry of Brask sails from Port Quell on Mondays. Captain Ilse Dorn has "
    "steered the ferry of Brask since 1988.",
}
QUESTIONS = [
    {"id": "q1", "question": "Who designed the Zorbik Tower?", "golden_answers": ["Ottilie Varn"]},
    {"id": "q2", "question": "Who built the mill at Orrin?", "golden_answers": ["Teska Varn"]},
]


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its only line on stdout, which must be one JSON object."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMRAG_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="session")
def run() -> Run:
    def command(*arguments: object) -> Ran:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return command


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three documents, a question file and a recipe."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "docs").mkdir()
    for name, text in TEXTS.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    lines = "".join(json.dumps(entry) + "\n" for entry in QUESTIONS)
    (folder / "questions.jsonl").write_text(lines, encoding="utf-8")
    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def added(run: Run, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection without adapters; not to be changed."""
    directory = tmp_path_factory.mktemp("added") / "collection"
    assert run("add", directory, files / "docs").code == 0
    return directory


@pytest.fixture(scope="session")
def encoded(
    run: Run, files: Path, added: Path, tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A collection with an adapter for every passage; not to be changed."""
    directory = tmp_path_factory.mktemp("encoded") / "collection"
    shutil.copytree(added, directory)
    ran = run("encode", directory, "--model", tiny_model_folder, "--recipe", files / "small.yaml")
    assert ran.code == 0, ran.err
    return directory


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a collection, to be changed."""

    def make(source: Path) -> Path:
        return Path(shutil.copytree(source, tmp_path / "copy"))

    return make
