"""What an augmenter is, and how one is named: `auto`, `rules`, `writer`, `model`, `model-unchecked`, `openai:MODEL`,
`items:FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..errors import ConfigError, did_you_mean
from ..types import Passage, Progress, TrainingItem
from .precomputed import Precomputed
from .report import AugmentReport
from .rules import Rules

if TYPE_CHECKING:
    from ..infer.engine import Engine

_SPECS = ("auto", "rules", "writer", "model", "model-unchecked", "openai:MODEL", "items:FILE")


@runtime_checkable
class Augmenter(Protocol):
    """Makes training items from passages."""

    id: str
    """Changes whenever the items for the same passage would."""
    report: AugmentReport
    """What its calls cost and yielded so far."""

    def __call__(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        """Returns the valid items of each passage, in the order of the passages; a passage may have none."""
        ...


def augmenter(
    spec: str,
    *,
    engine: Engine | None = None,
    base_url: str | None = None,
    questions: int = 16,
    rewrites: int = 0,
    seed: int = 0,
    prices: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Augmenter:
    """Returns the augmenter of that name.

    Args:
        spec: `auto` (the rules: what a 135M model writes was measured to be worse), `rules`, `writer`, `model`,
            `model-unchecked` (to study what checking is worth), `openai:MODEL`, `items:FILE` or the path of a .jsonl
            or .json file.
        engine: for `writer`, `model` and `model-unchecked`.
        base_url: for `openai:MODEL`: the server, up to and including `/v1`; None for OpenAI's.
        questions: question items wanted per passage.
        rewrites: rewrites wanted per passage.
        seed: decides what is drawn and the order of equals.
        prices: for `openai:MODEL`: of a million prompt and of a million completion tokens.
        progress: called as ("augment", passages done, passages).

    Raises:
        ConfigError: no such augmenter, or one without what it needs.
    """
    name, _, rest = spec.partition(":")
    if spec in ("auto", "rules"):
        return Rules(questions=questions, rewrites=rewrites, seed=seed, progress=progress)
    if spec in ("writer", "model", "model-unchecked"):
        return _local(spec, engine, questions, rewrites, seed, progress)
    if name == "openai":
        from .openai import OpenAI

        return OpenAI(
            rest,
            base_url=base_url,
            questions=questions,
            rewrites=rewrites,
            seed=seed,
            prices=prices,
            progress=progress,
        )
    if spec == "items":
        raise ConfigError("augmenter 'items' takes items that are in the collection; give items:FILE to read a file")
    if name == "items" or Path(spec).suffix in (".jsonl", ".json"):
        return Precomputed(rest if name == "items" else spec, questions=questions, rewrites=rewrites, progress=progress)
    raise ConfigError(f"unknown augmenter {spec!r}: {did_you_mean(spec, _SPECS)}")


def _local(
    spec: str, engine: Engine | None, questions: int, rewrites: int, seed: int, progress: Progress | None
) -> Augmenter:
    if engine is None:
        raise ConfigError(f"augmenter {spec!r} needs an engine; give engine=Engine(...)")
    if spec != "writer":
        from .model import LocalModel

        checked = spec == "model"
        return LocalModel(engine, questions=questions, rewrites=rewrites, seed=seed, checked=checked, progress=progress)
    from ..parameterize.writing import writer_adapter
    from .writer import Writer

    if rewrites:
        raise ConfigError("augmenter 'writer' writes no rewrites; set rewrites to 0, or take rules or model")
    return Writer(engine, writer_adapter(engine, progress), questions=questions, seed=seed, progress=progress)
