"""How alike adapters are, and whether they have collapsed into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..collapse import MAX_COSINE, CollapseReport
from ..separation import density, pairs_of
from ..similarity import SimilarityStudy
from .style import BLUE, GREY, ORANGE, PURPLE, layer_axis, look, panels, styled


@styled
def similarity_figure(study: SimilarityStudy) -> Any:
    """Returns densities of relevant and irrelevant pairs, for updates and flattened factors, and AUROC by layer."""
    count = len(study.documents)
    title = f"similarity of {count} adapters of {len(set(study.documents))} documents"
    figure, (left, middle, right) = panels(3, title=title)
    _densities(left, study.energy, study)
    left.set_xlabel("cosine of the whole updates")
    left.set_title(_gap(study, "energy"))
    for position, control in enumerate(study.controls):
        color = (PURPLE, GREY)[position % 2]
        label = f"{control.name} (mean)"
        left.axvline(control.values.mean(), 0, 0.6, color=color, linestyle=":", linewidth=2.5, label=label)
    module = "down_proj" if "down_proj" in study.paper_compat else next(iter(study.paper_compat))
    _densities(middle, study.paper_compat[module], study)
    middle.set_xlabel(f"cosine of flattened A and B ({module})")
    middle.set_title(_gap(study, f"paper_compat {module}"))
    for axes in (left, middle):
        axes.set_ylabel("density of pairs")
        axes.legend(loc="upper left")
    for position, name in enumerate(study.modules):
        entries = [entry for entry in study.layers if entry.module == name]
        style = look(name, position)
        right.plot(
            [entry.layer for entry in entries],
            [entry.auroc for entry in entries],
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            label=name,
        )
    right.axhline(0.5, color="black", linewidth=1)
    right.set_ylim(0, 1.02)
    right.set_ylabel("AUROC, one document against two")
    right.set_title("0.5: documents are not told apart")
    layer_axis(right, max(entry.layer for entry in study.layers) + 1)
    right.legend(loc="lower right")
    return figure


@styled
def collapse_figure(report: CollapseReport) -> Any:
    """Returns the spectrum of the updates and the cosines of all pairs, with their alarms."""
    found = f"{len(report.alarms)} alarm{'' if len(report.alarms) == 1 else 's'}"
    figure, axes = panels(2 + bool(report.swap), title=f"collapse of {report.n} adapters: {found}")
    axes[0].bar(range(1, report.n + 1), 100 * report.energies, color=BLUE)
    axes[0].set_xlabel("direction, by energy")
    axes[0].set_ylabel("energy of the updates (%)")
    axes[0].set_title(f"effective rank {report.effective_rank:.1f} of {report.n}")
    axes[1].hist(report.cosines, bins=40, range=(min(-0.2, float(report.cosines.min())), 1), color=BLUE)
    axes[1].axvline(MAX_COSINE, color="black", linestyle="--", label=f"alarm: mean above {MAX_COSINE}")
    axes[1].axvline(report.mean_cosine, color=ORANGE, linewidth=2.5, label=f"mean {report.mean_cosine:.2f}")
    axes[1].set_xlabel("cosine of the whole updates")
    axes[1].set_ylabel("pairs")
    axes[1].set_title("all pairs")
    axes[1].legend(frameon=True, framealpha=1, edgecolor="white", loc="center right")
    if report.swap:
        bars: Mapping[str, Any] = {"own": report.swap.own, "another\ndocument's": report.swap.swapped}
        for position, estimate in enumerate(bars.values()):
            errors = [[100 * (estimate.mean - estimate.low)], [100 * (estimate.high - estimate.mean)]]
            color = (BLUE, ORANGE)[position]
            axes[2].bar(position, 100 * estimate.mean, yerr=errors, color=color, capsize=6, width=0.6)
        axes[2].set_xticks(range(len(bars)), list(bars))
        axes[2].set_xlabel("adapter injected")
        axes[2].set_ylabel("HasAnswer (%)")
        axes[2].set_ylim(0, 100)
        axes[2].set_title(f"swap test (n = {report.swap.own.n})")
    return figure


def _densities(axes: Any, values: np.ndarray, study: SimilarityStudy) -> None:
    relevant, irrelevant = pairs_of(values, study.documents)
    low, high = float(min(relevant.min(), irrelevant.min())), float(max(relevant.max(), irrelevant.max()))
    margin = 0.15 * (high - low) or 0.05
    grid = np.linspace(low - margin, high + margin, 300)
    for name, pairs, color, dash in (("same", relevant, ORANGE, "-"), ("different", irrelevant, BLUE, "--")):
        heights = density(pairs, grid)
        axes.plot(
            grid, heights, color=color, linestyle=dash, linewidth=2.5, label=f"{name} document ({len(pairs)} pairs)"
        )
        axes.fill_between(grid, 0, heights, color=color, alpha=0.2, linewidth=0)
    axes.set_ylim(0, 1.65 * axes.get_ylim()[1])  # room for the legend


def _gap(study: SimilarityStudy, name: str) -> str:
    auroc = study.separations[name].auroc
    return f"AUROC {auroc.mean:.2f} [{auroc.low:.2f}, {auroc.high:.2f}]"
