"""Analyses on disk (`paramrag analyze all`) -> a section of a document and of the page. Never imports torch.

Every part tells its own data, n, command and findings, since parts of several collections may lie side by side.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EvaluationError
from .tables import Table

ORDER = ("pks-own", "pks-gold", "similarity", "collapse", "layers", "attention", "override", "explanation")
"""How parts are listed; others follow."""
_LONG = 12  # rows above which a table is folded away


@dataclass(frozen=True, slots=True)
class Inside:
    """One part, as it was told."""

    name: str
    """Of its files."""
    title: str
    """Heading."""
    shows: str
    """What the figure shows."""
    counted: str
    """n, what it counts, and what was left out."""
    about: Mapping[str, Any]
    """`data`, `command`, `model`, `recipe`, `top_k`."""
    table: Table
    """Its numbers."""
    findings: tuple[str, ...]
    """Sentences in Markdown, the verdict in bold."""
    parts: tuple[tuple[str, str, str], ...]
    """The same as claim, verdict and numbers."""
    figure: Path
    """The drawing, without its suffix."""

    @property
    def setting(self) -> str:
        """Data, model, recipe, passages and n in one line."""
        known = {"data": "data", "model": "model", "recipe": "recipe", "top_k": "top"}
        told = [f"{word} {self.about[key]}" for key, word in known.items() if self.about.get(key) is not None]
        return ", ".join([self.counted, *told])

    def picture(self) -> str:
        """Returns the drawing as a data URI, for a page that needs nothing beside it."""
        held = base64.b64encode(self.figure.with_suffix(".svg").read_bytes()).decode("ascii")
        return f"data:image/svg+xml;base64,{held}"


def read_inside(*directories: str | Path) -> list[Inside]:
    """Returns the parts in some directories and below them; of two of a name, the later directory's.

    Raises:
        EvaluationError: a part is damaged.
    """
    found: dict[str, Inside] = {}
    for directory in directories:
        for file in sorted(Path(directory).rglob("*.json")):
            if file.stem in ORDER and file.with_suffix(".svg").exists():
                found[file.stem] = _part(file)
    return [found[name] for name in ORDER if name in found]


def inside_section(parts: Sequence[Inside], figures: Path, document: Path, failed: Mapping[str, str]) -> str:
    """Returns the section in Markdown, and puts its figures where the document finds them.

    Args:
        parts: what there is so far.
        figures: folder for the PNG files, named `inside-NAME.png`.
        document: the file the section is for; pictures are linked relative to it.
        failed: part -> why it was not run.
    """
    lines = [
        "## Inside: what an injected document does to the model",
        "",
        "Definitions are in [inside.md](inside.md). Means have 95 % intervals, over what n counts; whether a finding "
        "of arXiv 2510.12668 holds is read from the interval alone.",
        "",
    ]
    figures.mkdir(parents=True, exist_ok=True)
    for part in parts:
        picture = figures / f"inside-{part.name}.png"
        shutil.copyfile(part.figure.with_suffix(".png"), picture)
        link = Path(os.path.relpath(picture, document.parent)).as_posix()
        lines += [f"### {part.title}", "", f"![{part.title}]({link})", "", f"{part.shows} {part.setting}.", ""]
        lines += [f"- {finding}" for finding in part.findings]
        lines += [""] if part.findings else []
        table = part.table.markdown().split("\n\n", 2)[2].strip()
        if len(part.table.rows) > _LONG:
            table = f"<details><summary>{len(part.table.rows)} rows</summary>\n\n{table}\n\n</details>"
        lines += [table, ""]
        if part.about.get("command"):
            lines += [f"Command: `{part.about['command']}`", ""]
    missing = {name: why for name, why in failed.items() if name not in {part.name for part in parts}}
    if missing:
        lines += ["Not run:", "", *(f"- {name}: {why}" for name, why in missing.items()), ""]
    return "\n".join(lines)


def _part(file: Path) -> Inside:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        left_out = f", {held['left_out']} left out" if held["left_out"] else ""
        return Inside(
            name=file.stem,
            title=held["title"],
            shows=held["shows"],
            counted=f"n = {held['n']} {held['over']}{left_out}",
            about=held["about"],
            table=Table(held["title"], "", tuple(held["columns"]), tuple(map(tuple, held["rows"]))),
            findings=tuple(finding["sentence"] for finding in held["findings"]),
            parts=tuple(tuple(finding["parts"]) for finding in held["findings"]),
            figure=file.with_suffix(""),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{file} is damaged ({error!r}); remove it and analyze again") from error
