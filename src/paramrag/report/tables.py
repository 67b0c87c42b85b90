"""Cells -> tables, as rows for the page and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..evaluate import Estimate
from .cells import Cell, cell_under, estimate, mode_rank

_WORDS = ("answer_length",)  # metrics that are no share


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a heading."""

    title: str
    """What it is."""
    note: str
    """How to read it."""
    columns: tuple[str, ...]
    """Headings."""
    rows: tuple[tuple[str, ...], ...]
    """Cells as text."""

    def markdown(self) -> str:
        """Returns the table in Markdown, with its heading and note."""
        lines = ["| " + " | ".join(_escaped(value) for value in row) + " |" for row in (self.columns, *self.rows)]
        rule = "|" + "|".join([" --- "] * len(self.columns)) + "|"
        return "\n".join([f"### {self.title}", "", self.note, "", lines[0], rule, *lines[1:]]) + "\n"


def shown(value: Estimate | None, metric: str = "") -> str:
    """Returns an estimate as `46.7 [40.1, 53.4]`: percent, or words for lengths."""
    if value is None:
        return "-"
    scale = 1 if metric in _WORDS else 100
    return f"{scale * value.mean:.1f} [{scale * value.low:.1f}, {scale * value.high:.1f}]"


def accuracy(cells: Sequence[Cell], metric: str) -> Table:
    """Returns one row per data set and setting, one column per mode."""
    modes = modes_of(cells)
    rows = []
    for data, setting in places(cells):
        here = {cell.mode: cell for cell in cells if (cell.data, cell.setting) == (data, setting)}
        n = max(len(cell.samples) for cell in here.values())
        failed = sum(cell.failed for cell in here.values())
        values = [shown(here[mode].estimate(metric), metric) if mode in here else "-" for mode in modes]
        rows.append((data, setting or "plain", str(n), str(failed), *values))
    note = "Percent, with 95 % intervals (Wilson; bootstrap where a score is not 0 or 1). A failed question scores 0."
    return Table(f"{metric} by method", note, ("data", "setting", "n", "failed", *modes), tuple(rows))


def bias(cells: Sequence[Cell]) -> Table:
    """Returns every metric of every mode over all plain questions: which of them reward length?"""
    chosen = plain(cells)
    names = list(dict.fromkeys(name for cell in chosen for name in cell.metrics()))
    names = [name for name in names if name not in ("ps", "po", "mr", "conflict_other", "label_accuracy")]
    rows = []
    for data, setting in places(chosen):
        for cell in chosen:
            if (cell.data, cell.setting) == (data, setting):
                rows.append((data, cell.mode, *(shown(cell.estimate(name), name) for name in names)))
    note = "has_answer rewards saying more, F1 and EM punish it: read each beside answer_length (words)."
    return Table("Metrics against answer length", note, ("data", "mode", *names), tuple(rows))


def conflict(cells: Sequence[Cell]) -> Table | None:
    """Returns Ps, Po, MR and the three counts per cell; None where no question has a conflict."""
    rows = []
    for cell in cells:
        if (ps := cell.estimate("ps")) is None:
            continue
        counts = [sum(sample.metrics.get(name) or 0 for sample in cell.samples) for name in CONFLICT]
        ratio = cell.estimate("mr")
        decided = str(ratio.n) if ratio else "0"
        rows.append(
            (
                cell.data,
                cell.setting or "plain",
                cell.mode,
                str(ps.n),
                *(f"{count:.0f}" for count in counts),
                shown(ps),
                shown(cell.estimate("po")),
                shown(ratio),
                decided,
            )
        )
    columns = ("data", "setting", "mode", "n", "counterfactual", "original", "other", "Ps", "Po", "MR", "MR over")
    note = "Counts, and shares in percent. MR = Po / (Po + Ps): how often memory wins where either is said."
    return Table("Conflict", note, columns, tuple(rows)) if rows else None


def cost(cells: Sequence[Cell], metric: str) -> Table:
    """Returns what each plain cell costs beside what it reaches."""
    rows = tuple(
        (
            cell.data,
            cell.mode,
            shown(cell.estimate(metric), metric),
            f"{cell.milliseconds():.0f}",
            f"{cell.prompt_tokens():.0f}",
        )
        for cell in plain(cells)
    )
    note = "Milliseconds per question, a batch's time shared evenly, on the machine of the run; tokens in the prompt."
    return Table("Cost", note, ("data", "mode", metric, "ms", "prompt tokens"), rows)


def retrieval(cells: Sequence[Cell]) -> Table | None:
    """Returns hit@1, hit@3 and recall@k per run; None where nothing is gold."""
    rows = []
    for data, setting in places(cells):
        found = next(cell.retrieval() for cell in cells if (cell.data, cell.setting) == (data, setting))
        if not found.get("n"):
            continue
        values = [found.get("hit@1"), found.get("hit@3"), next((v for k, v in found.items() if "recall@" in k), None)]
        shares = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        rows.append((data, setting or "plain", f"{found['n']:.0f}", f"{found['k']:.0f}", *shares))
    note = "Over the questions with gold passages, in percent; k is the most passages that a question got."
    columns = ("data", "setting", "n", "k", "hit@1", "hit@3", "recall@k")
    return Table("Retrieval", note, columns, tuple(rows)) if rows else None


def noise(cells: Sequence[Cell], metric: str) -> Table | None:
    """Returns the grid of noise in the text and in the adapters, over all data sets that have the whole of it."""
    steps = {(text, adapters) for cell in cells if (found := noise_of(cell)) for text, adapters in (found,)}
    if len(steps) < 2:
        return None
    rows = []
    for text, adapters in sorted(steps, key=lambda pair: (NOISE.index(pair[0]), NOISE.index(pair[1]))):
        values = [shown(estimate(noisy(cells, (text, adapters), mode), metric), metric) for mode in modes_of(cells)]
        rows.append((text, adapters, *values))
    sets = ", ".join(dict.fromkeys(cell.data for cell in common(cells)))
    n = len({(cell.data, sample.id) for cell in common(cells) for sample in cell.samples})
    note = (
        f"Hits replaced by passages of other questions, in the text and in the adapters. n = {n} questions of {sets}. "
        "Noise in the text is nothing to P-RAG, noise in the adapters nothing to T-RAG."
    )
    return Table(f"Noise: {metric}", note, ("text", "adapters", *modes_of(cells)), tuple(rows))


NOISE = ("none", "replace-last", "replace-first", "replace-all")
"""The conditions of a noise curve, in its order."""


def noise_of(cell: Cell) -> tuple[str, str] | None:
    """Returns (text, adapters) of a cell whose only conditions are noise; None for another cell."""
    text, adapters = (str(cell.configuration.get(key) or "none") for key in ("text", "adapters"))
    told = cell.setting.count(", ") + 1 if cell.setting else 0
    own = (text != "none") + (adapters != "none")
    return (text, adapters) if text in NOISE and adapters in NOISE and told == own else None


def noisy(cells: Sequence[Cell], noise: tuple[str, str], mode: str) -> list[Cell]:
    """Returns a mode's cells under (text, adapters) noise, one for each data set of the grid."""
    grid = common(cells)
    places = {cell.data: cell for cell in grid if noise_of(cell) == noise}
    return [cell for place in places.values() if (cell := cell_under(grid, place, mode))]


def common(cells: Sequence[Cell]) -> list[Cell]:
    """Returns the noise cells of the data sets that have the most conditions: what may be averaged over."""
    found = [cell for cell in cells if noise_of(cell)]
    counts = {data: len({noise_of(cell) for cell in found if cell.data == data}) for data in {c.data for c in found}}
    return [cell for cell in found if counts[cell.data] == max(counts.values())]


CONFLICT = ("ps", "po", "conflict_other")


def places(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Returns the (data set, setting) pairs, in the order of the cells."""
    return list(dict.fromkeys((cell.data, cell.setting) for cell in cells))


def modes_of(cells: Sequence[Cell]) -> list[str]:
    """Returns the modes of some cells, in the order of the list of modes."""
    return sorted({cell.mode for cell in cells}, key=lambda mode: (mode_rank(mode), mode))


def plain(cells: Sequence[Cell]) -> list[Cell]:
    """Returns the cells of each data set's plainest setting."""
    shortest = {data: min((cell.setting for cell in cells if cell.data == data), key=len) for data, _ in places(cells)}
    return [cell for cell in cells if cell.setting == shortest[cell.data]]


def _escaped(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
