"""How every figure looks: large enough to read at half size, in colours that colour-blind readers tell apart.

The palette is that of Okabe and Ito (https://jfly.uni-koeln.de/color/); lines differ in dash and marker as well, so
that nothing hangs on colour alone. No global state: figures are made without pyplot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from ...errors import ConfigError
from ...evaluate.statistics import Estimate

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
)
GREY = "#666666"
FORMATS = ("png", "svg", "pdf")
Draw = TypeVar("Draw", bound=Callable[..., Any])

_SETTINGS = {
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 12,
}


class Look(NamedTuple):
    """How one line is drawn."""

    color: str
    dash: str
    marker: str


LOOKS = (
    Look(BLUE, "-", "o"),
    Look(RED, "--", "s"),
    Look(GREEN, "-.", "^"),
    Look(PURPLE, ":", "D"),
    Look(ORANGE, "-", "v"),
    Look(SKY, "--", "P"),
    Look(GREY, "-.", "X"),
)
MODE_LOOKS = {
    "vanilla": Look(GREY, ":", "o"),
    "t-rag": Look(BLUE, "-", "s"),
    "p-rag": Look(ORANGE, "--", "^"),
    "pt-rag": Look(GREEN, "-", "D"),
}


def look(name: str, position: int = 0) -> Look:
    """Returns the look of a mode, the same in every figure, or the look number `position` of something else."""
    return MODE_LOOKS.get(name, LOOKS[position % len(LOOKS)])


def styled(draw: Draw) -> Draw:
    """Makes a function that draws a figure draw it in this style.

    Raises:
        ConfigError: matplotlib is not installed.
    """

    @wraps(draw)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        require_matplotlib()
        from matplotlib import rc_context

        with rc_context(_SETTINGS):
            return draw(*arguments, **options)

    return cast(Draw, wrapped)


def require_matplotlib() -> None:
    """Refuses to draw without matplotlib."""
    if find_spec("matplotlib") is None:
        raise ConfigError("figures need matplotlib; install it with: pip install 'paramrag[report]'")


def panels(count: int, *, title: str, width: float = 5.2, height: float = 4.6) -> tuple[Any, list[Any]]:
    """Returns a figure with `count` axes, each `width` by `height` inches: side by side, four in two rows."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = 1 if count < 4 else 2
    columns = -(-count // rows)
    padding = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)  # inches
    figure = Figure(figsize=(width * columns, height * rows), layout=padding)
    figure.suptitle(title, fontsize=14)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def band(axes: Any, x: Sequence[float], estimates: Sequence[Estimate], label: str, style: Look) -> None:
    """Draws means as a line and their 95 % intervals as a band."""
    axes.plot(
        x,
        [estimate.mean for estimate in estimates],
        color=style.color,
        linestyle=style.dash,
        marker=style.marker,
        markersize=5,
        linewidth=2,
        label=label,
    )
    lows, highs = ([getattr(estimate, end) for estimate in estimates] for end in ("low", "high"))
    axes.fill_between(x, lows, highs, color=style.color, alpha=0.18, linewidth=0)


def zero_line(axes: Any) -> None:
    """Marks zero, where a difference is none."""
    axes.axhline(0, color="black", linewidth=1)


def layer_axis(axes: Any, layer_count: int) -> None:
    """Labels the horizontal axis with layers."""
    axes.set_xlabel("layer (0 = first)")
    step = max(1, round(layer_count / 8))
    axes.set_xticks(range(0, layer_count, step))


def save(figure: Any, path: str | Path) -> Path:
    """Writes a figure; the suffix decides the format.

    Raises:
        ConfigError: a suffix that is none of png, svg and pdf.
    """
    path = Path(path)
    check_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def check_format(path: Path) -> None:
    """Refuses a file name that is not one of a figure."""
    if path.suffix.lstrip(".").lower() not in FORMATS:
        raise ConfigError(f"figure {str(path)!r} has the suffix {path.suffix!r}; expected one of .png, .svg, .pdf")
