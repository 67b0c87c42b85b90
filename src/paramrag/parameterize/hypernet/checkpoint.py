"""A trained hypernetwork on disk: `hypernet.json` (base model, recipe, layout) and `hypernet.safetensors` (weights).

Its content hash goes into the recipe of every adapter it predicts, so adapters of two hypernetworks, or of one and of
training, are never taken for each other.

A checkpoint is refused for another base model: its states would mean nothing there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import nn

from ...config import Recipe, parse_recipe
from ...errors import ConfigError, MismatchError
from ...infer import Engine
from ...store.layout import AdapterLayout
from .published import LastTokenHypernet
from .tokens import TokenHypernet

SHIPPED = "shipped"
"""In place of a folder: the hypernetwork that comes with the package."""
VERSION = 2
Network = TokenHypernet | LastTokenHypernet
_ENCODERS: dict[str, type[Network]] = {
    "tokens": TokenHypernet,
    "last-token": LastTokenHypernet,
}


@dataclass(frozen=True)
class Predictor:
    """A trained hypernetwork, ready to predict."""

    network: Network
    """Readings -> adapter rows [N, P]."""
    recipe: Recipe
    """Of the adapters it predicts: what it was trained under, with its own hash in it."""
    layout: AdapterLayout
    """Theirs."""
    base: str
    """Fingerprint of the base model."""


def fresh_network(engine: Engine, recipe: Recipe) -> Network:
    """Returns an untrained hypernetwork.

    Raises:
        ConfigError: the recipe has no hypernet section.
    """
    if recipe.hypernet is None:
        raise ConfigError(
            f"recipe {recipe.name!r} has no hypernet section, so there is nothing to predict its adapters with; "
            "use the shipped recipe dynamic or dyprag-paper, or add one"
        )
    network = _ENCODERS[recipe.hypernet.encoder](engine.base, engine.layout(recipe), recipe.hypernet, recipe.seed)
    return network.to(engine.base.device)


def save_hypernet(folder: Path, engine: Engine, recipe: Recipe, network: nn.Module) -> None:
    """Writes a checkpoint; the weights appear whole, and last."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "version": VERSION,
        "base": engine.fingerprint,
        "base_name": engine.base.name,
        "recipe": recipe.model_dump(mode="json"),
        "layout": engine.layout(recipe).to_json(),
    }
    (folder / "hypernet.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    scratch = folder / "hypernet.safetensors.part"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, scratch)
    scratch.replace(folder / "hypernet.safetensors")


def ship(folder: Path, into: Path) -> Path:
    """Copies a checkpoint as the package ships it, in half precision; returns the folder."""
    about = json.loads((folder / "hypernet.json").read_text("utf-8"))
    to = into / str(about["base"])
    to.mkdir(parents=True, exist_ok=True)
    (to / "hypernet.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    tensors = load_file(folder / "hypernet.safetensors")
    save_file({name: tensor.half() for name, tensor in tensors.items()}, to / "hypernet.safetensors")
    return to


def load_hypernet(folder: str | Path, engine: Engine) -> Predictor:
    """Reads a checkpoint.

    Args:
        folder: where it is; SHIPPED: the one that comes with the package for this base model.

    Raises:
        ConfigError: there is none, or it cannot be read.
        MismatchError: it was trained for another base model.
    """
    found_in: Path | Traversable = Path(folder)
    if str(folder) == SHIPPED:
        found_in = resources.files("paramrag.primer") / "hypernets" / engine.fingerprint
        if not found_in.is_dir():
            raise ConfigError(
                f"no hypernetwork is shipped for {engine.base.name} ({engine.fingerprint}); train one with "
                "`paramrag dynamic train --out HYPERNET`, and give it: --hypernet HYPERNET"
            )
    described, weights = found_in / "hypernet.json", found_in / "hypernet.safetensors"
    if not (described.is_file() and weights.is_file()):
        raise ConfigError(
            f"no hypernetwork in {str(folder)!r}: expected hypernet.json and hypernet.safetensors, as "
            "`paramrag dynamic train DIR --out HYPERNET` writes them"
        )
    try:
        about = json.loads(described.read_text("utf-8"))
        if about["version"] != VERSION:
            raise ConfigError(
                f"{described} has version {about['version']}, this program reads version {VERSION}; train it again"
            )
        base, base_name, recipe = about["base"], about["base_name"], about["recipe"]
        content = weights.read_bytes()
        tensors = load(content)
    except (json.JSONDecodeError, KeyError, TypeError, SafetensorError) as error:
        raise ConfigError(f"the hypernetwork in {str(folder)!r} is damaged ({error}); train it again") from error
    if base != engine.fingerprint:
        raise MismatchError(
            f"the hypernetwork in {str(folder)!r} was trained for base model {base_name} ({base}), this is "
            f"{engine.base.name} ({engine.fingerprint}); load that model, or train one for this"
        )
    found = parse_recipe(recipe, source=str(described))
    network = fresh_network(engine, found)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(f"{weights} does not fit the recipe in hypernet.json: {error}; train it again") from error
    network.eval().requires_grad_(False)
    checkpoint = hashlib.sha256(content).hexdigest()[:12]
    return Predictor(network, found.model_copy(update={"checkpoint": checkpoint}), engine.layout(found), base)


def parameter_count(network: nn.Module) -> int:
    """Returns how many numbers are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def all_finite(network: nn.Module) -> bool:
    """Returns whether every weight is a number."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
