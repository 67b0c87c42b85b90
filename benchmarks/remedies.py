"""Which remedy keeps a hypernetwork from giving every passage the same adapter? Equal budgets, the same passages.

    python benchmarks/remedies.py --work DIR [--passages 312] [--epochs 3] [--only NAME,NAME] [--json]

Every variant is the shipped recipe `dynamic` with something left out or put in, trained in the direct phase alone and
measured exactly on held-out invented passages. The passages are read once, into --work; finished variants are kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from paramrag import Engine, load_recipe
from paramrag.config import Hypernet, Recipe
from paramrag.parameterize import HyperTraining

VARIANTS: dict[str, dict[str, Any]] = {
    "all remedies": {},
    "without the hinge": {"contrast_weight": 0.0},
    "without copying": {"copying": False},
    "without hinge and copying": {"contrast_weight": 0.0, "copying": False},
    "with distractors": {"distractors": 0.5},
    "last token alone (published MLPs)": {"encoder": "last-token", "width": 32, "copying": False},
    "last token alone without the hinge": {
        "encoder": "last-token",
        "width": 32,
        "copying": False,
        "contrast_weight": 0.0,
    },
}
SHOWN = ("held_loss", "swapped_loss", "said", "swapped_said", "mean_cosine", "effective_rank", "distance_from_mean")


def recipe_of(changes: dict[str, Any], passages: int, epochs: int) -> Recipe:
    """The shipped recipe with changes, for a short direct training."""
    recipe = load_recipe("dynamic")
    assert recipe.hypernet
    budget = {"passages": passages, "direct_epochs": epochs, "exact_epochs": 0.0}
    settings = Hypernet.model_validate(recipe.hypernet.model_dump() | budget | changes)
    return recipe.model_copy(update={"hypernet": settings})


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=312)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", default="", help="names of variants, with commas between")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    engine = Engine("smollm2-135m-instruct")
    shared = arguments.work / "examples"
    shared.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for number, (name, changes) in enumerate(VARIANTS.items()):
        if arguments.only and name not in arguments.only.split(","):
            continue
        folder = arguments.work / f"variant-{number}"
        folder.mkdir(exist_ok=True)
        if not (folder / "examples").exists():
            (folder / "examples").symlink_to(shared.resolve())
        recipe = recipe_of(changes, arguments.passages, arguments.epochs)
        report = HyperTraining(engine, recipe, folder).run()
        measured = report.to_json()
        alarms = report.collapse(engine.layout(recipe)).alarms
        found[name] = {key: measured[key] for key in (*SHOWN, "n", "held_out", "seconds")} | {"alarms": list(alarms)}
        if not arguments.json:
            print(name, {key: round(measured[key], 3) for key in SHOWN}, f"n = {measured['n']}", alarms, flush=True)
    print(json.dumps({"passages": arguments.passages, "epochs": arguments.epochs, "variants": found}))


if __name__ == "__main__":
    main()
