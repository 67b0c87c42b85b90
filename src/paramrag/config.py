"""Recipes: everything that decides what an adapter is, validated where it enters.

A recipe is read from YAML (`recipes/*.yaml` or a user's file) or made in Python; unknown keys are refused with the
nearest valid name. Its id is a content hash, so two recipes that would make the same adapter share it, whatever
they are called. Runtime objects take plain arguments or a `Recipe`, never a path.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigError, did_you_mean
from .types import Activation, content_hash

Parameterizer = Literal["static", "dynamic"]
"""Who makes adapters: training, or a hypernetwork."""
ModuleName = Literal["gate_proj", "up_proj", "down_proj"]
MODULE_NAMES: tuple[ModuleName, ...] = ("gate_proj", "up_proj", "down_proj")
_OFF: tuple[tuple[str, Any], ...] = (
    ("task", False),
    ("task_recipe", ""),
    ("hypernet", None),
    ("checkpoint", ""),
    ("refine", 0),
)
# left out of the id where they are off: settings that came later, so that older adapters keep theirs
_GONE: dict[str, Any] = {"task_layers": "", "task_rank": 0}
# settings that recipes have no longer, and what they were where they did nothing: adapters made then are still good
_NAMED_LAYERS = ("all", "first-half", "last-half", "last-quarter", "last")


class Augmentation(BaseModel):
    """How training items are made from a passage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    augmenter: str = Field(
        default="auto", description="auto, rules, writer, model, model-unchecked, openai:MODEL, or items (the user's)"
    )
    questions: int = Field(default=16, ge=0, le=200, description="question-answer items wanted per passage")
    rewrites: int = Field(default=0, ge=0, le=20, description="rewrites of the passage, as in PRAG")


class Hypernet(BaseModel):
    """How a hypernetwork predicts adapters, and how it learns to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: Literal["tokens", "last-token"] = Field(
        default="tokens",
        description="tokens: a key and a value for every token that an answer may have; last-token: as published",
    )
    depths: tuple[float, ...] = Field(
        default=(0.0, 0.13, 0.27, 0.47),
        min_length=1,
        description="how deep into the base model to read the passage's tokens, 0: embeddings, 1: last layer's output",
    )
    width: int = Field(default=192, ge=4, le=4096, description="width of the encoder; of the published one's MLPs")
    blocks: int = Field(default=2, ge=0, le=16, description="self-attention blocks over the passage's tokens")
    heads: int = Field(default=4, ge=1, le=64, description="attention heads; divides width")
    basis: int = Field(default=64, ge=1, le=1024, description="directions that values are mixed from")
    copying: bool = Field(default=True, description="let values copy embeddings of what they write")
    keys: int = Field(default=384, ge=1, description="width of keys: principal directions of inner activations")
    contrast_weight: float = Field(
        default=0.3, ge=0, description="weight of the hinge: the own adapter must beat another passage's"
    )
    margin: float = Field(default=3.0, gt=0, description="by how much, in nats per label")
    distractors: float = Field(
        default=0.0, ge=0, le=1, description="share of steps in which another passage's adapter is added to the own"
    )
    regress_weight: float = Field(
        default=0.0, ge=0, description="weight of the squared error to trained adapters' factors, as published"
    )
    imitate_weight: float = Field(
        default=0.0, ge=0, description="weight of the divergence from the model with the trained adapter, as published"
    )
    passages: int = Field(default=624, ge=0, description="invented passages to learn from, beside those of collections")
    items: int = Field(default=5, ge=1, description="most training items of a passage, one for each answer")
    batch_passages: int = Field(default=16, ge=1, description="passages of an optimiser step")
    direct_epochs: int = Field(
        default=8, ge=0, description="passes with each adapter's term carried straight to the output: cheap"
    )
    exact_epochs: float = Field(
        default=0.2, ge=0, description="passes through the adapted layers, which cost some twenty times as much"
    )
    learning_rate: float = Field(default=3e-3, gt=0, description="peak learning rate of AdamW")
    clip: float = Field(default=1.0, ge=0, description="gradient norm limit; 0: none")
    patience: int = Field(
        default=6,
        ge=1,
        description="checks without more said, or the same with less loss, on held-out passages before it stops",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Hypernet:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads, {self.heads}")
        if any(not 0 <= depth <= 1 for depth in self.depths):
            raise ValueError(f"depths {list(self.depths)} are not all between 0 and 1")
        if self.direct_epochs and (self.regress_weight or self.imitate_weight):
            raise ValueError(
                "regress_weight and imitate_weight are of the exact phase alone; set direct_epochs to 0, or both to 0"
            )
        return self


class Recipe(BaseModel):
    """Everything that decides what an adapter is, apart from the passage and the base model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="default", description="what people call it; not part of its id")
    rank: int = Field(default=2, ge=1, le=256, description="rank of each update")
    alpha: float = Field(default=32.0, gt=0, description="LoRA alpha; the update is scaled by alpha / rank")
    modules: tuple[ModuleName, ...] = Field(
        default=MODULE_NAMES, min_length=1, description="adapted projections of the feed-forward block"
    )
    layers: str = Field(default="all", description="all, first-half, last-half, last-quarter, last, or ranges: 15-29,3")
    activation: Activation = Field(default="answer", description="answer: on while answering (as aLoRA); full: as PRAG")
    objective: Literal["nll-all", "nll-answer"] = Field(
        default="nll-answer", description="loss on all tokens (PRAG) or on the answer"
    )
    nll_weight: float = Field(default=1.0, ge=0, description="weight of the negative log-likelihood of the labels")
    kl_weight: float = Field(
        default=0.0, ge=0, description="weight of the divergence from the same model with the passage in its prompt"
    )
    state_weight: float = Field(
        default=0.0, ge=0, description="weight of the angle between its layers' outputs and the adapted ones"
    )
    training_set: Literal["closed-book", "both", "prag"] = Field(
        default="closed-book",
        description="questions alone, also with the passage in the prompt, or PRAG's mix with passage and rewrites",
    )
    epochs: int = Field(default=14, ge=1, description="passes over a passage's items")
    batch_items: int = Field(default=0, ge=0, description="items per optimiser step; 0: all items of the passage")
    learning_rate: float = Field(default=4e-3, gt=0, description="peak learning rate of AdamW")
    schedule: Literal["constant", "linear"] = Field(default="constant", description="learning rate over the steps")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay of AdamW")
    clip: float = Field(default=1.0, ge=0, description="gradient norm limit per adapter; 0: none")
    stop_probability: float = Field(
        default=0.0, ge=0, lt=1, description="an item is learnt when all its answer tokens are this likely; 0: never"
    )
    task: bool = Field(
        default=False, description="train on top of the shared task adapter, which is then on beneath the passages'"
    )
    task_recipe: str = Field(default="", description="recipe whose task adapter that is, where it is not this one's")
    hypernet: Hypernet | None = Field(
        default=None, description="the hypernetwork that predicts adapters; none: they are trained"
    )
    checkpoint: str = Field(default="", description="content hash of the trained hypernetwork; it sets this itself")
    refine: int = Field(default=0, ge=0, description="steps from a predicted adapter on")
    seed: int = Field(default=0, ge=0, description="decides initial values and order, per passage")
    augmentation: Augmentation = Field(default_factory=Augmentation, description="how training items are made")

    @model_validator(mode="before")
    @classmethod
    def _without_gone(cls, held: Any) -> Any:
        if not isinstance(held, dict):
            return held
        return {name: value for name, value in held.items() if name not in _GONE or value != _GONE[name]}

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if len(set(self.modules)) != len(self.modules):
            raise ValueError(f"modules {list(self.modules)} name one twice")
        if self.objective == "nll-all" and self.activation == "answer":
            raise ValueError(
                "objective nll-all trains prompt tokens, where activation answer never switches the adapter on; "
                "use activation: full, or objective: nll-answer"
            )
        if self.taught and (self.training_set, self.activation) != ("closed-book", "answer"):
            raise ValueError(
                "kl_weight and state_weight compare answers without and with the passage in the prompt; "
                "use training_set: closed-book and activation: answer, or set both to 0"
            )
        if not self.nll_weight and not self.taught:
            raise ValueError("nll_weight, kl_weight and state_weight are all 0: there is nothing to learn from")
        if self.layers not in _NAMED_LAYERS and not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", self.layers):
            raise ValueError(f"layers {self.layers!r} is not {', '.join(_NAMED_LAYERS)} or ranges such as 15-29,3")
        return self

    @property
    def taught(self) -> bool:
        """Whether training compares with the model that reads the passage."""
        return self.kl_weight > 0 or self.state_weight > 0

    @property
    def parameterizer(self) -> Parameterizer:
        """Who makes its adapters."""
        return "dynamic" if self.checkpoint else "static"

    @property
    def id(self) -> str:
        """Content hash over everything but the name."""
        content = self.model_dump(mode="json", exclude={"name"})
        content = {name: value for name, value in content.items() if (name, value) not in _OFF}
        content["modules"] = [name for name in MODULE_NAMES if name in self.modules]
        return content_hash(json.dumps(content, sort_keys=True), length=12)

    def layer_indices(self, count: int) -> tuple[int, ...]:
        """Returns the adapted layers of a model with `count` layers, ascending."""
        named = {
            "all": range(count),
            "first-half": range(count // 2),
            "last-half": range(count // 2, count),
            "last-quarter": range(count - max(1, count // 4), count),
            "last": range(count - 1, count),
        }
        if self.layers in named:
            return tuple(named[self.layers])
        chosen: set[int] = set()
        for part in self.layers.split(","):
            first, _, last = part.partition("-")
            chosen.update(range(int(first), int(last or first) + 1))
        if not chosen or max(chosen) >= count:
            raise ConfigError(
                f"recipe {self.name!r} adapts layers {self.layers}, the model has layers 0 to {count - 1}"
            )
        return tuple(sorted(chosen))


_SECTIONS: dict[str, type[BaseModel]] = {"augmentation": Augmentation, "hypernet": Hypernet}


def load_recipe(source: str | Path | Recipe) -> Recipe:
    """Returns a recipe from a shipped name (`default`, `paper`), a YAML file, or as given.

    Raises:
        ConfigError: no such recipe or file, or a key or value that is not valid.
    """
    if isinstance(source, Recipe):
        return source
    shipped = {entry.name.removesuffix(".yaml"): entry for entry in _shipped() if entry.name.endswith(".yaml")}
    path = Path(source)
    if str(source) in shipped:
        name, text = str(source), shipped[str(source)].read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no recipe file {str(path)!r}; give a YAML file, or {', '.join(sorted(shipped))}")
        name, text = path.stem, path.read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"unknown recipe {str(source)!r}: {did_you_mean(str(source), shipped)}; or give the path of a .yaml file"
        )
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe {str(source)!r} is not valid YAML: {error}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"recipe {str(source)!r} holds a {type(data).__name__}; expected a mapping of settings")
    return parse_recipe({"name": name, **data}, source=str(source))


def parse_recipe(data: dict[str, Any], source: str = "recipe") -> Recipe:
    """Validates a mapping as a recipe; every problem is named at once, unknown keys with the nearest valid one."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{source}: " + "; ".join(_explain(problem) for problem in error.errors())) from error


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        model = _SECTIONS.get(str(problem["loc"][0]), Recipe) if len(problem["loc"]) > 1 else Recipe
        return f"unknown setting {where!r}: {did_you_mean(str(problem['loc'][-1]), model.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (got {problem['input']!r})" if where else message


def _shipped() -> list[Any]:
    return list((resources.files("paramrag") / "recipes").iterdir())
