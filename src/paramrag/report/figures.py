"""Cells -> figures, as SVG for the page (its text takes the page's colour) and as SVG and PNG files.

Modes differ in colour and marker; the colours are told apart with the common colour blindnesses, on white and on black
(after Okabe and Ito, jfly.uni-koeln.de/color). Figures are narrow, so that their text can be read on a phone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigError
from .cells import Cell, estimate
from .tables import CONFLICT, NOISE, common, modes_of, noise_of, noisy, places, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_WIDTH_IN = 6.4
_INK, _RULE = "#010203", "#040506"  # stand-ins that become the page's colours
_LOOKS = {
    "vanilla": ("#8a8a8a", "o"),
    "t-rag": ("#2f86d6", "s"),
    "t-rag-late": ("#1b4f9c", "p"),
    "p-rag": ("#e08a00", "^"),
    "p-rag-late": ("#a85f00", "8"),
    "pt-rag": ("#0a9d76", "D"),
    "pt-rag-late": ("#7a6fd0", "X"),
    "dyp-rag": ("#c76aa4", "v"),
    "dyp-rag-late": ("#8f3f74", "d"),
    "dypt-rag": ("#d55e00", "P"),
    "dypt-rag-late": ("#a8761c", "*"),
}
_OTHERS = (("#3aa6a6", "h"), ("#5b5b9f", "<"), ("#94a33a", ">"))
_SIDES = {"counterfactual": "#e08a00", "original": "#2f86d6", "other": "#9a9a9a"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its heading."""

    name: str
    """Of its files."""
    title: str
    """What it shows."""
    note: str
    """How to read it."""
    svg: str
    """For a page: transparent, text and rules in the page's colours."""
    draw: Callable[[], Drawing]
    """Draws it again, for files."""

    def save(self, directory: Path) -> list[Path]:
        """Writes NAME.svg and NAME.png, black on white."""
        files = [directory / f"{self.name}{suffix}" for suffix in (".svg", ".png")]
        with _style("#1a1a1a", "#dddddd"):
            drawing = self.draw()
            for file in files:
                drawing.savefig(file, dpi=200, facecolor="white", bbox_inches="tight", metadata=_metadata(file.suffix))
        return files


def figures(cells: Sequence[Cell], metric: str) -> list[Figure]:
    """Returns the figures that the cells have something for.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    chosen = plain(cells)
    channels = _channels(cells)
    noisy = [cell for cell in cells if channels and noise_of(cell) not in (None, ("none", "none"))]
    drawn = [
        _figure(
            "accuracy",
            "Accuracy",
            f"Mean {metric} with its 95 % interval." + (" Noise has a figure of its own." if noisy else ""),
            lambda: _accuracy([cell for cell in cells if cell not in noisy], metric),
        ),
        _figure(
            "latency",
            "Accuracy against time",
            "One small mark per data set; the large one is the mean over data sets, its bar the 95 % interval of all "
            "questions.",
            lambda: _against(chosen, metric, "milliseconds per question", Cell.milliseconds),
        ),
        _figure(
            "prompt",
            "Accuracy against prompt length",
            "One small mark per data set; the large one is the mean over data sets, its bar the 95 % interval of all "
            "questions.",
            lambda: _against(chosen, metric, "tokens in the prompt", Cell.prompt_tokens),
        ),
    ]
    if channels:
        note = f"Mean {metric} where hits are replaced by passages of other questions; bars are 95 % intervals."
        drawn.append(_figure("noise", "Noise", note, lambda: _noise(cells, metric, channels)))
    if any(cell.estimate("ps") for cell in cells):
        note = "Whose answer is given where a passage contradicts another source; MR as in the table below."
        drawn.append(_figure("conflict", "Conflict", note, lambda: _conflict(cells)))
    return drawn


def _figure(name: str, title: str, note: str, draw: Callable[[], Drawing]) -> Figure:
    with _style(_INK, _RULE):
        text = io.StringIO()
        draw().savefig(text, format="svg", transparent=True, bbox_inches="tight", metadata=_metadata(".svg"))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor").replace(_RULE, "var(--rule)")
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', rf'<svg role="img" aria-label="{title}" \1', svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", svg, count=1)
    return Figure(name, title, note, _apart(svg, name), draw)


def _apart(svg: str, name: str) -> str:
    """Ids of its own, since several figures stand in one page."""
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(url\(#|href="#)', rf"\1{name}-", svg)


def _accuracy(cells: Sequence[Cell], metric: str) -> Drawing:
    rows, modes = places(cells), modes_of(cells)
    drawing, axes = _axes(max(1.8, 0.5 + len(rows) * (0.2 + 0.14 * len(modes))))
    for index, mode in enumerate(modes):
        points = [(at, cell.estimate(metric)) for at, place in enumerate(rows) for cell in _at(cells, place, mode)]
        offset = (index - (len(modes) - 1) / 2) * 0.7 / max(1, len(modes))
        known = [(at + offset, value) for at, value in points if value]
        colour, marker = _look(mode, modes)
        axes.errorbar(
            [100 * value.mean for _, value in known],
            [at for at, _ in known],
            xerr=[
                [100 * (value.mean - value.low) for _, value in known],
                [100 * (value.high - value.mean) for _, value in known],
            ],
            fmt=marker,
            color=colour,
            label=mode,
            markersize=5,
            elinewidth=1.4,
        )
    axes.set_yticks(range(len(rows)), [f"{data}\n{setting}" if setting else data for data, setting in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{metric}, %")
    _legend(drawing, axes, len(modes))
    return drawing


def _against(cells: Sequence[Cell], metric: str, label: str, measure: Callable[[Cell], float]) -> Drawing:
    modes = modes_of(cells)
    drawing, axes = _axes(3.0, "both", _WIDTH_IN * 0.68)  # two stand side by side
    for mode in modes:
        own = [(measure(cell), cell.estimate(metric)) for cell in cells if cell.mode == mode]
        known = [(x, 100 * value.mean) for x, value in own if value and x == x]
        if not known:
            continue
        colour, marker = _look(mode, modes)
        if len(known) > 1:
            axes.scatter(
                [x for x, _ in known],
                [y for _, y in known],
                s=16,
                color=colour,
                marker=marker,
                alpha=0.45,
                linewidths=0,
            )
        mean = [sum(values) / len(known) for values in zip(*known, strict=True)]
        pooled = estimate([cell for cell in cells if cell.mode == mode], metric)
        if pooled:
            ends = ([max(0.0, mean[1] - 100 * pooled.low)], [max(0.0, 100 * pooled.high - mean[1])])
            axes.errorbar(mean[0], mean[1], yerr=ends, color=colour, elinewidth=1.4, fmt="none")
        axes.scatter(mean[0], mean[1], s=90, color=colour, marker=marker, label=mode, zorder=3)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=-2)
    axes.set_xlabel(label)
    axes.set_ylabel(f"{metric}, %")
    _legend(drawing, axes, len(modes))
    return drawing


def _channels(cells: Sequence[Cell]) -> dict[str, list[tuple[str, str]]]:
    """The noise curves that have more than their first point: channel -> conditions in order."""
    found = {noise_of(cell) for cell in common(cells)}
    lines = {
        "in the text": [(step, "none") for step in NOISE],
        "in the adapters": [("none", step) for step in NOISE],
        "in both": [(step, step) for step in NOISE],
    }
    present = {name: [pair for pair in line if pair in found] for name, line in lines.items()}
    return {name: line for name, line in present.items() if len(line) > 1}


def _noise(cells: Sequence[Cell], metric: str, channels: dict[str, list[tuple[str, str]]]) -> Drawing:
    from matplotlib.figure import Figure as Canvas

    cells = common(cells)
    modes = modes_of(cells)
    drawing = Canvas(figsize=(_WIDTH_IN, 2.3 * len(channels) + 0.4), layout="constrained")
    rows = drawing.subplots(len(channels), 1, sharey=True, squeeze=False)
    for axes, (channel, line) in zip(rows[:, 0], channels.items(), strict=True):
        for index, mode in enumerate(modes):
            values = [estimate(noisy(cells, pair, mode), metric) for pair in line]
            known = [(at + (index - (len(modes) - 1) / 2) * 0.05, v) for at, v in enumerate(values) if v]
            colour, marker = _look(mode, modes)
            axes.errorbar(
                [at for at, _ in known],
                [100 * value.mean for _, value in known],
                yerr=[
                    [100 * (value.mean - value.low) for _, value in known],
                    [100 * (value.high - value.mean) for _, value in known],
                ],
                fmt=f"{marker}-",
                color=colour,
                label=mode,
                markersize=5,
                elinewidth=1,
            )
        axes.set_xticks(
            range(len(line)), [" ".join(dict.fromkeys(p for p in pair if p != "none")) or "none" for pair in line]
        )
        axes.set_title(f"noise {channel}", loc="left", fontsize=10)
        axes.set_ylabel(f"{metric}, %")
        axes.set_ylim(bottom=0)
        _clean(axes, "y")
    _legend(drawing, rows[0, 0], len(modes))
    return drawing


def _conflict(cells: Sequence[Cell]) -> Drawing:
    rows = [cell for cell in cells if cell.estimate("ps")]
    drawing, axes = _axes(0.8 + 0.34 * len(rows))
    starts = [0.0] * len(rows)
    for (side, colour), name in zip(_SIDES.items(), CONFLICT, strict=True):
        shares = [100 * value.mean if (value := cell.estimate(name)) else 0.0 for cell in rows]
        axes.barh(range(len(rows)), shares, left=starts, color=colour, label=side, height=0.72)
        for at, (share, start) in enumerate(zip(shares, starts, strict=True)):
            if share >= 8:
                axes.text(start + share / 2, at, f"{share:.0f}", ha="center", va="center", color="#111111", fontsize=8)
        starts = [start + share for start, share in zip(starts, shares, strict=True)]
    for at, cell in enumerate(rows):
        ratio = cell.estimate("mr")
        axes.text(101, at, f"MR {100 * ratio.mean:.0f}" if ratio else "MR -", va="center", fontsize=8)
    labels = [", ".join(part for part in (cell.data, cell.setting, cell.mode) if part) for cell in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 113)
    axes.set_xticks(range(0, 101, 25))
    axes.set_xlabel("% of questions")
    _legend(drawing, axes, 3)
    return drawing


def _at(cells: Sequence[Cell], place: tuple[str, str], mode: str) -> list[Cell]:
    return [cell for cell in cells if (cell.data, cell.setting) == place and cell.mode == mode]


def _look(mode: str, modes: Sequence[str]) -> tuple[str, str]:
    if mode in _LOOKS:
        return _LOOKS[mode]
    others = [name for name in modes if name not in _LOOKS]
    return _OTHERS[others.index(mode) % len(_OTHERS)]


def colour_of(mode: str) -> str:
    """Returns the colour of a mode, the same in every figure."""
    return _look(mode, [mode])[0]


def _axes(height_in: float, along: Literal["x", "both"] = "x", width_in: float = _WIDTH_IN) -> tuple[Drawing, Axes]:
    from matplotlib.figure import Figure as Canvas

    drawing = Canvas(figsize=(width_in, height_in), layout="constrained")
    axes = drawing.subplots()
    _clean(axes, along)
    return drawing, axes


def _clean(axes: Axes, along: Literal["x", "y", "both"]) -> None:
    axes.spines[:].set_visible(False)
    axes.grid(axis=along, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _legend(drawing: Drawing, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=min(columns, 4),
        frameon=False,
        handletextpad=0.2,
        columnspacing=1.0,
    )


def _metadata(suffix: str) -> dict[str, Any]:
    return {"Date": None} if suffix == ".svg" else {"Software": None}


@contextmanager
def _style(ink: str, rule: str) -> Iterator[None]:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError('figures need matplotlib; install it with: pip install "paramrag[report]"') from error
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "paramrag",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": rule,
        "axes.facecolor": "none",
        "xtick.color": ink,
        "ytick.color": ink,
        "grid.color": rule,
    }
    with mpl.rc_context(settings):
        yield
