"""The tables of a study in Markdown, and their place in a document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from ..evaluate import compare
from . import tables
from .cells import Cell, cell_under, read_cells
from .findings import findings
from .page import all_tables

FINDINGS_NOTE = (
    "Of arXiv 2510.12668, and controls. A finding holds where the whole 95 % interval of a difference (paired "
    "bootstrap, questions of all data sets together) is above zero, does "
    "not hold where it is below, and cannot be told otherwise."
)


def study_tables(
    runs: Sequence[Path],
    *,
    name: str,
    question: str,
    metric: str,
    reference: str,
    failed: Sequence[str] = (),
    command: str = "",
    missing: int = 0,
) -> str:
    """Returns what a study found, in Markdown: findings, its tables, and every mode against the reference.

    Args:
        runs: directories of its cells.
        name: of the study.
        question: that it asks.
        metric: what its tables show.
        reference: mode that the others are compared with.
        failed: cells that could not be run, and why.
        command: that ran it.
        missing: cells that have not been run yet.

    Raises:
        EvaluationError: the runs hold no samples.
    """
    cells = read_cells(*runs)
    models = dict.fromkeys(str(cell.configuration.get("model_name")) for cell in cells)
    found = all_tables(cells, metric)
    gains = differences(cells, metric, reference)
    if gains:
        found.insert(1, gains)
    parts = [f"## {name}", "", question, "", f"Model: {', '.join(models)}.", ""]
    if command:
        parts += [f"Command: `{command}`", ""]
    if missing:
        parts += [f"Not complete; cells still to be run: {missing}.", ""]
    if told := findings(cells, metric):
        parts += ["### Findings", "", FINDINGS_NOTE, "", *(f"- {finding.sentence}" for finding in told), ""]
    parts += [table.markdown() for table in found]
    if failed:
        parts += ["Not run:", "", *(f"- {' '.join(reason.split())}" for reason in failed), ""]
    return "\n".join(parts)


def differences(cells: Sequence[Cell], metric: str, reference: str) -> tables.Table | None:
    """Returns, per data set and setting, by how much each mode beats the reference on the same questions."""
    rows = []
    for data, setting in tables.places(cells):
        here = {cell.mode: cell for cell in cells if (cell.data, cell.setting) == (data, setting)}
        base = cell_under(cells, next(iter(here.values())), reference)
        if base is None:
            continue
        here.pop(reference, None)
        for mode, cell in here.items():
            if base.estimate(metric) is None or cell.estimate(metric) is None:
                continue
            gain = compare(base.run, cell.run, metric, reference, mode)
            test = f"{gain.mcnemar.p:.2g}" if gain.mcnemar else "-"
            shown = tables.shown(gain.difference, metric)
            rows.append((data, setting or "plain", mode, str(gain.difference.n), shown, test))
    note = "Points above the reference on the same questions, 95 % interval of a paired bootstrap; McNemar's p."
    columns = ("data", "setting", "mode", "n", "difference", "p")
    return tables.Table(f"{metric} against {reference}", note, columns, tuple(rows)) if rows else None


def write_section(document: Path, name: str, text: str) -> None:
    """Puts a text between `<!-- study:NAME -->` and `<!-- /study:NAME -->` of a document; at its end if absent.

    Raises:
        ConfigError: the document has one of the marks, but not both.
    """
    held = document.read_text(encoding="utf-8") if document.exists() else "# The study\n"
    first, last = f"<!-- study:{name} -->", f"<!-- /study:{name} -->"
    if (first in held) != (last in held):
        raise ConfigError(f"{document} has only one of {first} and {last}; put in the other, or remove it")
    section = f"{first}\n{text.strip()}\n{last}"
    if first in held:
        held = re.sub(f"{re.escape(first)}.*?{re.escape(last)}", lambda match: section, held, count=1, flags=re.DOTALL)
    else:
        held = f"{held.rstrip()}\n\n{section}\n"
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(held, encoding="utf-8")
