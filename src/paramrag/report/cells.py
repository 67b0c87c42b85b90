"""Run directories -> cells: one mode on one data set under one setting, with everything the report shows of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import EvaluationError
from ..evaluate import Estimate, Sample, bootstrap_mean, read_run, read_run_samples, wilson
from ..evaluate.metrics import is_binary
from ..modes import MODES

MODE_ORDER = tuple(MODES)
"""How modes are listed; others follow."""
_FIRST = ("model_name", "recipe_name", "given", "text", "adapters", "shuffled_text", "task_lora")  # of a setting's name
_SHOWN_APART = ("data", "model", "recipe")  # of a configuration; never part of a setting's name


@dataclass(frozen=True, slots=True)
class Cell:
    """One mode of one run."""

    run: Path
    """Directory of the run."""
    data: str
    """Name of the data set."""
    setting: str
    """What sets this run apart from the others that were read; empty for the plain one."""
    mode: str
    """Name of the mode."""
    configuration: Mapping[str, Any]
    """Resolved settings of the run."""
    samples: Sequence[Sample]
    """Every question of it."""

    @property
    def failed(self) -> int:
        """Questions without an answer."""
        return sum(sample.error is not None for sample in self.samples)

    def retrieval(self) -> Mapping[str, float]:
        """Returns hit@1, hit@3 and recall@k of the run, over its questions that have gold passages."""
        summary = self.run / "summary.json"
        found = json.loads(summary.read_text(encoding="utf-8")) if summary.exists() else {}
        return dict(found.get("retrieval", {}))

    def metrics(self) -> list[str]:
        """Returns the names of its metrics, in the order in which they were taken."""
        return list(dict.fromkeys(name for sample in self.samples for name in sample.metrics))

    def estimate(self, metric: str) -> Estimate | None:
        """Returns the mean of a metric with its 95 % interval, or None where it is not defined."""
        return estimate((self,), metric)

    def prompt_tokens(self) -> float:
        """Returns the mean prompt length of the questions that were answered; NaN if none was."""
        return _mean([float(sample.tokens.get("prompt", 0)) for sample in self.samples if sample.error is None])

    def milliseconds(self) -> float:
        """Returns the time per question, batches shared evenly; NaN if nothing was answered.

        All questions of a batch carry the time of the whole batch.
        """
        answered = [sample.timings_ms.get("total", 0.0) for sample in self.samples if sample.error is None]
        batches = [total for total, _ in groupby(answered)]
        return sum(batches) / len(answered) if answered else float("nan")


def estimate(cells: Iterable[Cell], metric: str) -> Estimate | None:
    """Returns the mean of a metric over all questions of some cells, with its 95 % interval; None if undefined."""
    values = [value for cell in cells for sample in cell.samples if (value := sample.metrics.get(metric)) is not None]
    if not values:
        return None
    return wilson(values) if is_binary(metric) else bootstrap_mean(values)


def read_cells(*directories: str | Path) -> list[Cell]:
    """Returns the cells of all runs in some directories and below them, by data set, setting and mode.

    Raises:
        EvaluationError: there is no run with samples, or one is damaged.
    """
    files = dict.fromkeys(file for directory in directories for file in sorted(Path(directory).rglob("run.json")))
    runs = [(file.parent, read_run(file.parent)) for file in files]
    found = [(path, held["configuration"], read_run_samples(path)) for path, held in runs]
    found = [entry for entry in found if any(entry[2].values())]
    if not found:
        raise EvaluationError(
            f"{', '.join(map(str, directories))}: no evaluation with samples; "
            "give a directory that `paramrag eval --out` wrote"
        )
    configurations = [configuration for _, configuration, _ in found]
    cells = [
        Cell(path, data_of(path, configuration), _setting(configuration, configurations), mode, configuration, samples)
        for path, configuration, modes in found
        for mode, samples in modes.items()
        if samples
    ]
    names = list(dict.fromkeys(cell.data for cell in cells))
    return sorted(cells, key=lambda cell: (names.index(cell.data), cell.setting, mode_rank(cell.mode), cell.mode))


def cell_under(cells: Sequence[Cell], place: Cell, mode: str) -> Cell | None:
    """Returns a mode's cell under the conditions of another cell, on the same data set; None if there is none.

    Conditions that do not reach the mode are left aside: noise in the text is nothing to P-RAG, and adapters, whatever
    befalls them, are nothing to T-RAG. So a grid needs to ask each mode only where something changes for it.
    """
    own = [cell for cell in cells if cell.data == place.data and cell.mode == mode]
    exact = [cell for cell in own if cell.run == place.run]
    wanted = _felt(place.configuration, mode)
    return next((cell for cell in (*exact, *own) if _felt(cell.configuration, mode) == wanted), None)


def _felt(configuration: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """The settings that can change what a mode says."""
    unfelt: set[str] = set()
    known = MODES.get(mode)
    if known and not known.text:
        unfelt |= {"text"}
    if known and not known.weights:
        unfelt |= {"adapters", "shuffled_text", "aggregator"}
        unfelt |= set() if known.apart else {"weighting"}  # how sure a passage that is read by itself has to be
        unfelt |= set() if known.apart or configuration.get("task_lora") else {"recipe", "recipe_name"}
    return {key: value for key, value in configuration.items() if key not in unfelt and value}


def data_of(run: Path, configuration: Mapping[str, Any]) -> str:
    """Returns the name of a run's data set: its file's, or the run directory's where that is not known."""
    return str(configuration.get("data") or run.name)


def mode_rank(mode: str) -> int:
    """Returns where a mode is listed."""
    return MODE_ORDER.index(mode) if mode in MODE_ORDER else len(MODE_ORDER)


def _setting(own: Mapping[str, Any], all_: Sequence[Mapping[str, Any]]) -> str:
    """The settings of a run that not all runs share, those that it has itself."""
    keys = list(dict.fromkeys([*_FIRST, *(key for configuration in all_ for key in configuration)]))
    apart = [key for key in keys if key not in _SHOWN_APART and len({str(entry.get(key)) for entry in all_}) > 1]
    told = [f"{_words(key)} {_value(own[key])}".strip() for key in apart if own.get(key) is not None]
    return ", ".join(told)


def _words(key: str) -> str:
    return {"given": "oracle", "recipe_name": "recipe"}.get(key, key.replace("_", " "))


def _value(value: Any) -> str:
    return "" if value is True else str(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
