"""Cells -> one HTML page that needs nothing beside it, with figures and Markdown tables as files next to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..evaluate import read_passages
from . import tables
from .cells import Cell, estimate, read_cells
from .figures import colour_of, figures
from .findings import findings
from .inside import read_inside

SAMPLES = 200
"""Questions per data set and setting that the page shows; a page of a whole study would not open on a phone."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was written."""

    page: Path
    """The HTML page."""
    files: tuple[Path, ...]
    """Figures and tables beside it."""
    cells: int
    """How many cells it shows."""


def report(
    directory: str | Path, out: str | Path | None = None, *, metric: str = "has_answer", samples: int = SAMPLES
) -> Report:
    """Writes the report of all runs in a directory and below it, and of `analyze all` where that was run.

    Args:
        directory: of one run, or of many.
        out: the page; None: `report.html` in the directory. Figures and tables go to a folder of its name.
        metric: what accuracy is.
        samples: questions per data set and setting to show one by one.

    Raises:
        EvaluationError: there is no run with samples, or one is damaged.
        ConfigError: the extra `report` is not installed, or no run has the metric.
    """
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise ConfigError('the report needs jinja2; install it with: pip install "paramrag[report]"') from error
    cells = read_cells(directory)
    known = list(dict.fromkeys(name for cell in cells for name in cell.metrics()))
    if metric not in known:
        raise ConfigError(f"no run has metric {metric!r}; expected one of {', '.join(known)}")
    page = Path(out) if out else Path(directory) / "report.html"
    beside = page.with_name(f"{page.stem}-files")
    beside.mkdir(parents=True, exist_ok=True)

    drawn = figures(cells, metric)
    inside = read_inside(directory)
    shown = all_tables(cells, metric)
    template = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(template).render(
        metric=metric,
        facts=_facts(cells),
        figures=drawn,
        headline=_headline(cells, metric),
        findings=[finding.parts for finding in findings(cells, metric)],
        inside=inside,
        tables=shown,
        configurations=_configurations(cells),
        data=_embedded({"modes": tables.modes_of(cells), "metric": metric, "groups": _groups(cells, metric, samples)}),
        per_group=samples,
    )
    page.write_text(html, encoding="utf-8", errors="backslashreplace")
    files = [file for figure in drawn for file in figure.save(beside)]
    markdown = beside / "tables.md"
    markdown.write_text("\n".join(table.markdown() for table in shown), encoding="utf-8")
    return Report(page, (*files, markdown), len(cells))


def all_tables(cells: Sequence[Cell], metric: str) -> list[tables.Table]:
    """Returns the tables that the cells have something for."""
    found = [
        tables.accuracy(cells, metric),
        tables.retrieval(cells),
        tables.noise(cells, metric),
        tables.conflict(cells),
        tables.bias(cells),
        tables.cost(cells, metric),
    ]
    if metric != "label_accuracy" and any(cell.estimate("label_accuracy") for cell in cells):
        labelled = [cell for cell in cells if cell.estimate("label_accuracy")]
        found.insert(1, tables.accuracy(labelled, "label_accuracy"))
    return [table for table in found if table]


def _headline(cells: Sequence[Cell], metric: str) -> list[dict[str, str]]:
    """Each mode in one number: over all questions of the plain settings."""
    chosen = tables.plain(cells)
    found = []
    for mode in tables.modes_of(chosen):
        own = [cell for cell in chosen if cell.mode == mode]
        value = estimate(own, metric)
        if value is None:
            continue
        mean, _, interval = tables.shown(value, metric).partition(" ")
        told = {"mode": mode, "mean": mean, "interval": interval, "n": f"{value.n:,}", "colour": colour_of(mode)}
        milliseconds = sum(cell.milliseconds() for cell in own) / len(own)
        cost = "-" if milliseconds != milliseconds else f"{milliseconds:,.0f} ms"
        found.append({**told, "unit": "" if metric == "answer_length" else " %", "cost": cost})
    return found


def _facts(cells: Sequence[Cell]) -> dict[str, str]:
    """What the page says on top."""
    places = tables.places(cells)
    questions = {(cell.data, sample.id) for cell in cells for sample in cell.samples}
    models = dict.fromkeys(
        str(cell.configuration.get("model_name") or cell.configuration.get("model")) for cell in cells
    )
    failed = sum(cell.failed for cell in cells)
    return {
        "model": ", ".join(models),
        "data sets": ", ".join(dict.fromkeys(data for data, _ in places)),
        "questions": f"{len(questions):,}",
        "modes": ", ".join(tables.modes_of(cells)),
        "answers": f"{sum(len(cell.samples) for cell in cells):,}, {failed:,} of them failed",
    }


def _configurations(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """The resolved settings of every run, once."""
    runs = {cell.run: cell for cell in cells}
    return [
        {
            "title": ", ".join(part for part in (cell.data, cell.setting) if part),
            "text": (run / "run.json").read_text(encoding="utf-8"),
        }
        for run, cell in runs.items()
    ]


def _groups(cells: Sequence[Cell], metric: str, limit: int) -> list[dict[str, Any]]:
    """The samples, by data set and setting: each question with what every mode said and saw."""
    groups = []
    for data, setting in tables.places(cells):
        here = [cell for cell in cells if (cell.data, cell.setting) == (data, setting)]
        order = list(dict.fromkeys(sample.id for cell in here for sample in cell.samples))
        entries = []
        by_mode = {cell.mode: {sample.id: sample for sample in cell.samples} for cell in here}
        wanted: set[str] = set()
        for question_id in order[:limit]:
            found = {mode: samples[question_id] for mode, samples in by_mode.items() if question_id in samples}
            first = next(iter(found.values()))
            said = {}
            for mode, sample in found.items():
                wanted.update(hit["passage_id"] for hit in sample.hits)
                said[mode] = {
                    "text": sample.prediction,
                    "score": sample.metrics.get(metric),
                    "error": sample.error,
                    "hits": [
                        {
                            "id": hit["passage_id"],
                            "title": hit["title"],
                            "score": hit["score"],
                            "text": hit["in_text"],
                            "adapter": hit["adapter_id"],
                            "weight": hit["weight"],
                            "gold": bool(hit.get("gold")),
                        }
                        for hit in sample.hits
                    ],
                }
            entries.append(
                {"id": question_id, "question": first.question, "answers": list(first.answers), "said": said}
            )
        texts = {key: p.text for run in {cell.run for cell in here} for key, p in read_passages(run).items()}
        groups.append(
            {
                "data": data,
                "setting": setting,
                "n": len(order),
                "questions": entries,
                "passages": {key: texts[key] for key in sorted(wanted) if key in texts},
            }
        )
    return groups


def _embedded(value: Any) -> Any:
    """JSON that may stand inside a script element: no `<` that could end it."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
