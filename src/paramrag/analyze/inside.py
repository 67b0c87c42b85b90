"""All analyses of one collection, part by part, into a directory that a report and a document are made from.

A part is finished when NAME.json lies there beside its figure, so that a run that was stopped goes on with the next
part, and parts of several collections (a conflict set for the override, say) may lie side by side. The questions, the
model, the recipe and the collection's passages decide a part's key; a part of another key is made again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, ParamRAGError, did_you_mean
from ..evaluate.questions import Question
from ..modes import modes_with
from ..pipeline import Pipeline
from ..types import Progress, content_hash
from .attention import attention
from .collapse import collapse, swap_test
from .explain import explain
from .figures import (
    attention_figure,
    collapse_figure,
    explanation_figure,
    knowledge_figure,
    layers_figure,
    override_figure,
    save,
    similarity_figure,
)
from .gathering import adapters_of, trained_controls
from .knowledge import knowledge
from .layers import Part, layer_effects, parts_of
from .override import override
from .similarity import similarity
from .telling import (
    Told,
    tell_attention,
    tell_collapse,
    tell_explanation,
    tell_knowledge,
    tell_layers,
    tell_override,
    tell_similarity,
)

FORMATS = (".png", ".svg")
"""Of every figure."""
MAX_ADAPTERS = 500
"""Adapters that are compared pair by pair, those of the first documents."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked into."""

    pipeline: Callable[..., Pipeline]
    """Mode -> pipeline; a second argument is another recipe."""
    questions: Sequence[Question]
    """To ask."""
    controls: int = 0
    """Adapters to train again for the similarity's floor and ceiling."""
    trained: tuple[Any, ...] = ()
    """Recipes whose adapters are shown beside the parts of the injection."""
    bands: tuple[str, ...] = ()
    """Bands of layers; none: quarters of the depth."""
    seed: int = 0
    """Of everything random."""
    progress: Progress | None = None
    """Called as the parts advance."""

    def key(self, name: str) -> str:
        """Returns what a part's result depends on, as a hash."""
        one = self.pipeline("pt-rag")
        asked = [[q.id, q.question, q.answers, q.metadata.get("original")] for q in self.questions]
        trained = [recipe.id for recipe in self.trained]
        own: list[Any] = [trained, self.bands] if name == "layers" else []
        own += [self.controls] if name == "similarity" else []
        settings = [name, one.engine.fingerprint, one.recipe.id, one.top_k, self.seed, *own]
        encoded = one.collection.encoded(one.engine.fingerprint, one.recipe.id)
        held = sorted(encoded if name in ("similarity", "collapse") else one.collection.passage_ids())
        return content_hash(json.dumps([settings, asked, held], default=str), length=16)


Finished = tuple[Told, Mapping[str, Any], Any]
"""What a page tells, the whole result as JSON values, the figure."""


def _pks(response: str) -> Callable[[Subject], Finished]:
    def run(subject: Subject) -> Finished:
        modes = {mode: subject.pipeline(mode) for mode in modes_with("static", apart=False)}
        found = knowledge(modes, subject.questions, response=response, progress=subject.progress)
        return tell_knowledge(found), found.to_json(), knowledge_figure(found)

    return run


def _similarity(subject: Subject) -> Finished:
    one = subject.pipeline("p-rag")
    layout, rows, ids, documents = adapters_of(one.collection, one.engine, one.recipe, MAX_ADAPTERS)
    similarity(layout, rows, documents)  # refused here, before controls are trained, where documents are too short
    again = ids[: subject.controls]
    controls = trained_controls(one.collection, one.engine, one.recipe, again) if again else ()
    found = similarity(layout, rows, documents, controls=controls, seed=subject.seed)
    return tell_similarity(found), found.to_json(), similarity_figure(found)


def _collapse(subject: Subject) -> Finished:
    one = subject.pipeline("p-rag")
    layout, rows, _, documents = adapters_of(one.collection, one.engine, one.recipe, MAX_ADAPTERS)
    found = collapse(layout, rows, documents, swap_test(one, subject.questions, seed=subject.seed))
    return tell_collapse(found), found.to_json(), collapse_figure(found)


def _layers(subject: Subject) -> Finished:
    one = subject.pipeline("p-rag")
    parts = parts_of(one, subject.bands)
    for recipe in subject.trained:
        parts.append(Part(f"trained as {recipe.name} ({recipe.layers})", subject.pipeline("p-rag", recipe)))
    found = layer_effects(parts, subject.questions, progress=subject.progress)
    return tell_layers(found), found.to_json(), layers_figure(found)


def _attention(subject: Subject) -> Finished:
    found = attention(subject.pipeline("pt-rag"), subject.questions, progress=subject.progress)
    return tell_attention(found), found.to_json(), attention_figure(found)


def _override(subject: Subject) -> Finished:
    modes = {mode: subject.pipeline(mode) for mode in ("p-rag", "pt-rag")}
    found = override(modes, subject.questions, progress=subject.progress)
    return tell_override(found), found.to_json(), override_figure(found)


def _explanation(subject: Subject) -> Finished:
    found = explain(subject.pipeline("pt-rag"), subject.questions[0].question)
    return tell_explanation(found), found.to_json(), explanation_figure(found)


PARTS: Mapping[str, Callable[[Subject], Finished]] = {
    "pks-own": _pks("own"),
    "pks-gold": _pks("gold"),
    "similarity": _similarity,
    "collapse": _collapse,
    "layers": _layers,
    "attention": _attention,
    "override": _override,
    "explanation": _explanation,
}
"""Every part, in the order of a page."""


def look_inside(
    subject: Subject,
    out: str | Path,
    parts: Sequence[str] = tuple(PARTS),
    *,
    about: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
    after: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Runs the parts that are not finished; one that cannot be run is told, and the others go on.

    Args:
        subject: what is looked into.
        out: where NAME.json, NAME.png and NAME.svg go, for every part.
        parts: names of `PARTS`.
        about: what a reader must know of the run: data, command.
        say: called with a line per part.
        after: called whenever a part is finished.

    Returns:
        Part -> why it was not run.

    Raises:
        ConfigError: an unknown part.
    """
    for name in parts:
        if name not in PARTS:
            raise ConfigError(f"unknown part {name!r}: {did_you_mean(name, PARTS)}")
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    one = subject.pipeline("pt-rag")
    setting = {"model": one.engine.base.name, "recipe": one.recipe.name, "top_k": one.top_k, **(about or {})}
    failed: dict[str, str] = {}
    for name in parts:
        file = directory / f"{name}.json"
        key = subject.key(name)
        if _finished(file, key):
            say(f"{name}: there already")
            continue
        say(f"{name}: {len(subject.questions)} questions")
        started = time.perf_counter()
        try:
            told, result, figure = PARTS[name](subject)
        except ParamRAGError as error:
            failed[name] = " ".join(str(error).split())
            say(f"  not run: {failed[name]}")
            continue
        for suffix in FORMATS:
            save(figure, directory / f"{name}{suffix}")
        seconds = round(time.perf_counter() - started, 1)
        entry = {"part": name, "key": key, "about": setting, "seconds": seconds, **told.to_json(), "result": result}
        draft = file.with_name(f".{file.name}.draft")
        draft.write_text(json.dumps(entry, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(draft, file)
        say(f"  {seconds:.0f} s, n = {told.n}")
        after()
    return failed


def _finished(file: Path, key: str) -> bool:
    if not file.exists() or not all(file.with_suffix(suffix).exists() for suffix in FORMATS):
        return False
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")).get("key") == key)
    except (ValueError, AttributeError):
        return False
