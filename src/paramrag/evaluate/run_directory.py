"""The directory of one run: `run.json`, `summary.json`, `passages.jsonl`, and `<mode>/samples.jsonl`.

`run.json` says what was run. A directory that holds another run is refused: mixed samples would be worthless, and
nobody would see it.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import EvaluationError
from ..types import content_hash
from .metrics import Metric
from .passage_log import PassageLog
from .questions import Question
from .samples import Sample, SampleLog, read_samples

FORMAT_VERSION = 1
"""Version of the files in a run directory; changes only with their meaning."""
_IDENTITY = ("version", "configuration", "seed", "metrics", "questions")
_MODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class RunDirectory:
    """A run on disk, opened for writing by one process at a time (`with run.locked():`)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from writing to the same run.

        Raises:
            EvaluationError: another process is writing, or the directory cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EvaluationError(
                f"run directory {str(self.path)!r} cannot be made: {error.strerror}; choose another"
            ) from error
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise EvaluationError(
                f"another process is writing to run directory {str(self.path)!r}; wait for it, or choose another"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Records what is run, or checks that the directory already holds just that.

        Raises:
            EvaluationError: the directory holds samples of another run, or files that are no run.
        """
        file = self.path / "run.json"
        if not file.exists():
            # A kill may have left the lock and a draft.
            foreign = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
            if foreign:
                raise EvaluationError(
                    f"{str(self.path)!r} is not empty and holds no run ({', '.join(sorted(foreign)[:3])}); "
                    "choose an empty directory"
                )
            _write_json(file, {**identity, "versions": versions()})
            return
        held = read_run(self.path)
        differences = list(_differences({key: held.get(key) for key in _IDENTITY}, identity))
        if differences:
            raise EvaluationError(
                f"run directory {str(self.path)!r} holds a different run: {'; '.join(differences[:5])}. "
                "Choose another directory, or remove this one to start again"
            )
        now = versions()
        if held.get("versions") != now and now not in held.get("resumed_with", []):
            _write_json(file, {**held, "resumed_with": [*held.get("resumed_with", []), now]})

    def log(self, mode: str) -> SampleLog:
        """Opens the log of a mode for appending.

        Raises:
            EvaluationError: the mode's name cannot be a directory, or its log is damaged.
        """
        if not _MODE.fullmatch(mode):
            raise EvaluationError(f"mode {mode!r} cannot name a directory; use letters, digits and . _ + -")
        return SampleLog(self.path / mode / "samples.jsonl")

    def passages(self) -> PassageLog:
        """Opens the file of passage texts for appending.

        Raises:
            EvaluationError: it is damaged.
        """
        return PassageLog(self.path / "passages.jsonl")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replaces summary.json, whole or not at all."""
        _write_json(self.path / "summary.json", summary)


def identify(
    configuration: Mapping[str, Any], seed: int, metrics: Sequence[Metric], questions: Sequence[Question]
) -> dict[str, Any]:
    """Returns what makes two runs the same run, as JSON values.

    Raises:
        EvaluationError: the configuration cannot be written as JSON.
    """
    try:
        plain = json.loads(json.dumps(configuration, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise EvaluationError(
            f"the configuration cannot be saved as JSON ({error}); give plain text, numbers, lists and mappings"
        ) from error
    asked = json.dumps([_judged_by(entry) for entry in questions])
    return {
        "version": FORMAT_VERSION,
        "configuration": plain,
        "seed": seed,
        "metrics": [entry.name for entry in metrics],
        "questions": {"n": len(questions), "fingerprint": content_hash(asked, length=12)},
    }


def read_run(path: str | Path) -> dict[str, Any]:
    """Returns the content of a run's run.json.

    Raises:
        EvaluationError: there is none, it is damaged, or of a newer version.
    """
    file = Path(path) / "run.json"
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EvaluationError(
            f"{str(path)!r} holds no run (no run.json); give the --out directory of an evaluation"
        ) from error
    except ValueError as error:
        raise EvaluationError(f"{file} is damaged ({error}); remove the directory and evaluate again") from error
    if not isinstance(held, dict) or not isinstance(held.get("version"), int):
        raise EvaluationError(f"{file} is not a run description; choose another directory")
    if held["version"] > FORMAT_VERSION:
        raise EvaluationError(
            f"{file} has version {held['version']}, this ParamRAG reads up to {FORMAT_VERSION}; update ParamRAG"
        )
    return held


def read_run_samples(path: str | Path) -> dict[str, list[Sample]]:
    """Returns the samples of a run by mode, modes in alphabetical order."""
    logs = sorted(Path(path).glob("*/samples.jsonl"))
    return {log.parent.name: read_samples(log)[0] for log in logs}


def versions() -> dict[str, str | None]:
    """Returns the versions that can change a result; None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("paramrag", "torch", "transformers", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _judged_by(question: Question) -> list[Any]:
    """Everything of a question that its prompt and its scores depend on."""
    sides = [list(question.metadata.get(side, ())) for side in ("counterfactual", "original")]
    asked = [question.task, question.choices]
    return [question.id, question.question, question.answers, sorted(question.gold_ids), *sides, *asked]


def _differences(held: Any, given: Any, where: str = "") -> Iterator[str]:
    if isinstance(held, dict) and isinstance(given, dict):
        for key in [*held, *(key for key in given if key not in held)]:
            yield from _differences(held.get(key), given.get(key), f"{where}.{key}" if where else str(key))
    elif held != given:
        yield f"{where} is {json.dumps(held)} there, {json.dumps(given)} now"


def _write_json(file: Path, value: Any) -> None:
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(draft, file)
