"""A study: data sets x settings x modes, from a YAML file; run cell by cell, resumable, with tables of what was found.

Every cell is an evaluation of its own, in a directory named after what it is, so that studies share the cells that
they have in common and a study that grew asks only what is new. Imports torch; `paramrag.evaluate` does not import it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..config import Recipe, load_recipe, parse_recipe
from ..errors import ConfigError, EvaluationError, NotFoundError, ParamRAGError, did_you_mean
from ..infer import Engine
from ..modes import MODES
from ..parameterize import EncodeEstimate, StaticParameterizer
from ..store import Collection
from ..types import Progress, content_hash
from .cell import Cell, Setting
from .controls import control_of, encode_shuffled
from .datasets import load_questions
from .metrics import metric, metrics_for
from .questions import Question
from .run_directory import read_run_samples

METRICS = ("has_answer", "contains", "em", "f1", "em_prag", "f1_prag", "answer_length")
"""Taken in every cell, beside what its task calls for, so that any two cells can be compared by any of them."""

RecipeSpec = str | dict[str, Any]
"""A recipe's name or file, or changes: `{from: default, epochs: 7}`."""


class Variant(BaseModel):
    """What one cell does differently; what it leaves out is as the study says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: RecipeSpec | None = Field(default=None, description="whose adapters are used")
    modes: tuple[str, ...] | None = Field(default=None, description="modes to ask in")
    top_k: int | None = Field(default=None, ge=0, description="passages per question")
    retriever: str | None = Field(default=None, description="bm25, dense or hybrid")
    weighting: str | None = Field(default=None, description="how much each adapter counts")
    aggregator: str | None = Field(default=None, description="how adapters are combined")
    given: str | None = Field(default=None, description="role of the passages given instead of retrieved ones")
    text: str | None = Field(default=None, description="condition of the text")
    adapters: str | None = Field(default=None, description="condition of the adapters")
    shuffled_text: bool = Field(default=False, description="adapters of the passages' words in random order")
    task_lora: bool = Field(default=False, description="the recipe's task adapter joined to every answer")


class Study(Variant):
    """A question, and the cells that answer it."""

    name: str = Field(pattern=r"[a-z0-9-]+", description="of its table")
    question: str = Field(description="what it asks; stands above its tables")
    data: tuple[str, ...] = Field(min_length=1, description="question files, by name without .jsonl")
    modes: tuple[str, ...] = Field(default=("vanilla", "t-rag", "p-rag", "pt-rag"), description="modes to ask in")
    recipe: RecipeSpec = Field(default="default", description="whose adapters are used")
    task: str | None = Field(default=None, description="how to ask, instead of as the file says, such as choices")
    limit: int | None = Field(default=None, ge=1, description="questions per data set; none: all")
    seed: int = Field(default=0, ge=0, description="of everything random")
    max_new_tokens: int = Field(default=32, ge=1, description="cap on an answer")
    metric: str = Field(default="has_answer", description="what its tables show")
    reference: str = Field(default="t-rag", description="mode that the others are compared with")
    variants: tuple[Variant, ...] = Field(default=(Variant(),), min_length=1, description="what is varied")

    def setting(self, variant: Variant) -> Setting:
        """Returns the setting of a variant."""

        def chosen(name: str, default: Any) -> Any:
            own = getattr(variant, name)
            shared = getattr(self, name)
            return next((value for value in (own, shared) if value is not None), default)

        return Setting(
            recipe_of(chosen("recipe", "default")),
            top_k=chosen("top_k", 3),
            retriever=chosen("retriever", "bm25"),
            aggregator=chosen("aggregator", "concat"),
            weighting=chosen("weighting", "evidence"),
            max_new_tokens=self.max_new_tokens,
            given=chosen("given", None),
            text=chosen("text", None),
            adapters=chosen("adapters", None),
            shuffled_text=variant.shuffled_text or self.shuffled_text,
            task_lora=variant.task_lora or self.task_lora,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell before it is run."""

    data: str
    """Name of the data set."""
    setting: Setting
    """How it is run."""
    modes: tuple[str, ...]
    """In which modes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running a study came to."""

    runs: tuple[Path, ...]
    """Directories of the cells that were run."""
    failed: tuple[str, ...]
    """Cells that could not be run, and why."""
    missing: int = 0
    """Cells that have not been run yet."""


def load_study(path: str | Path) -> Study:
    """Reads a study from a YAML file.

    Raises:
        ConfigError: no such file, or a key or value that is not valid; all are named at once.
    """
    file = Path(path)
    try:
        held = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no study file {str(path)!r}; give a YAML file, such as recipes/study-main.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"study {str(path)!r} is not valid YAML: {error}") from error
    if not isinstance(held, dict):
        raise ConfigError(f"study {str(path)!r} holds a {type(held).__name__}; expected a mapping of settings")
    try:
        study = Study.model_validate(held)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_explain(problem) for problem in error.errors())) from error
    for variant in (study, *study.variants):
        for mode in variant.modes or ():
            if mode not in MODES:
                raise ConfigError(f"{path}: unknown mode {mode!r}: {did_you_mean(mode, MODES)}")
        study.setting(variant)
    metric(study.metric)
    return study


def recipe_of(spec: RecipeSpec | Recipe) -> Recipe:
    """Returns the recipe of a spec; changes are applied to the recipe they start `from`.

    Raises:
        ConfigError: no such recipe, or a change that is not valid.
    """
    if not isinstance(spec, Mapping):
        return load_recipe(spec)
    changes = dict(spec)
    start = load_recipe(changes.pop("from", "default"))
    data = start.model_dump(mode="json")
    data["name"] = ", ".join([start.name, *_told(changes)])
    data["augmentation"] = {**data["augmentation"], **changes.pop("augmentation", {})}
    return parse_recipe({**data, **changes}, source="recipe of a study")


class Runner:
    """Runs studies over one folder of data with one engine, into one directory."""

    def __init__(
        self,
        engine: Engine,
        data: str | Path,
        out: str | Path,
        *,
        limit: int | None = None,
        sets: Sequence[str] = (),
    ) -> None:
        """Settles where things are.

        Args:
            engine: holds the base model.
            data: folder with NAME.jsonl files, each question with its passages.
            out: collections go to OUT/collections, cells to OUT/runs.
            limit: questions per data set, instead of what the study says.
            sets: only these of the study's data sets; none: all.
        """
        self.engine, self.data, self.out = engine, Path(data), Path(out)
        self._limit, self._sets = limit, tuple(sets)

    def plan(self, study: Study) -> Iterator[Planned]:
        """Yields the cells of a study, data set by data set."""
        for name in study.data:
            for variant in study.variants if name in (self._sets or study.data) else ():
                yield Planned(name, study.setting(variant), variant.modes or study.modes)

    def estimate(
        self, study: Study, progress: Progress | None = None, say: Callable[[str], None] = lambda line: None
    ) -> Iterator[tuple[str, str, EncodeEstimate]]:
        """Yields (data set, recipe, what encoding would cost) for adapters that are missing; stores only passages.

        Training is timed once for each recipe, on its first data set; the others are taken to need as long a passage.
        Cells that cannot be run are told by `say`, and cost nothing.
        """
        wanted: dict[tuple[str, str, bool], tuple[StaticParameterizer, Collection, dict[str, None]]] = {}
        for planned in self.plan(study):
            try:
                cell, target = self._cell(study, planned)
                needed = cell.adapters_needed(planned.modes, progress)
            except ParamRAGError as error:
                say(f"{self.directory(study, planned).name} cannot be run: {error}")
                continue
            key = (planned.data, planned.setting.recipe.id, planned.setting.shuffled_text)
            parameterizer = StaticParameterizer(self.engine, planned.setting.recipe)
            wanted.setdefault(key, (parameterizer, target, {}))[2].update(dict.fromkeys(needed))
        timed: dict[str, EncodeEstimate] = {}
        for (name, _, shuffled), (parameterizer, target, ids) in wanted.items():
            recipe = parameterizer.recipe
            shown = f"{recipe.name}{', shuffled text' if shuffled else ''}"
            missing = len(set(ids) - target.encoded(self.engine.fingerprint, recipe.id))
            known = timed.get(recipe.id)
            if known is None:
                known = parameterizer.estimate(target, list(ids))
                if known.passages:
                    timed[recipe.id] = known
                yield name, shown, known
            else:
                yield name, shown, _scaled(known, missing, present=len(ids) - missing)

    def answers(self, study: Study) -> int:
        """Returns how many answers are still to be asked, over all cells."""
        count = 0
        for planned in self.plan(study):
            path = self.directory(study, planned)
            done = read_run_samples(path) if path.exists() else {}
            file = self.data / f"{planned.data}.jsonl"
            asked = len(load_questions(file, self._limit or study.limit, task=study.task)) if file.is_file() else 0
            count += sum(max(0, asked - len(done.get(mode, ()))) for mode in planned.modes)
        return count

    def run(
        self,
        study: Study,
        *,
        say: Callable[[str], None] = lambda line: None,
        after: Callable[[Outcome], None] = lambda outcome: None,
        progress: Progress | None = None,
    ) -> Outcome:
        """Runs the cells that are not finished; a cell that cannot be run is told and left out.

        Args:
            study: what to run.
            say: called with a line per cell.
            after: called with what there is so far, whenever a cell was run.
            progress: called as the stages advance.
        """
        runs, failed = [], []
        cells = list(self.plan(study))
        for number, planned in enumerate(cells, 1):
            path = self.directory(study, planned)
            known = (path / "summary.json").exists()
            say(f"{study.name}, cell {number} of {len(cells)}: {path.name}")
            try:
                cell, target = self._cell(study, planned)
                self._encode(cell, target, planned.modes, progress)
                about = {"data": planned.data} | ({"task": study.task} if study.task else {})
                cell.run(planned.modes, path, metrics=_metrics(cell.questions), about=about, progress=progress)
            except ParamRAGError as error:
                failed.append(f"{path.name}: {error}")
                say(f"  not run: {error}")
            else:
                runs.append(path)
                if not known:
                    after(Outcome(tuple(runs), tuple(failed), len(cells) - number))
        return Outcome(tuple(runs), tuple(failed))

    def directory(self, study: Study, planned: Planned) -> Path:
        """Returns where a cell lies: the same for the same questions, model and setting, whatever study asks."""
        setting = planned.setting
        identity = json.dumps([self.engine.fingerprint, setting.seed, setting.to_json()], sort_keys=True)
        told = [study.task, setting.recipe.name, setting.given, setting.text, setting.adapters]
        words = [str(word) for word in told if word] + ["shuffled-text"] * setting.shuffled_text
        words += ["task-lora"] * setting.task_lora
        name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([planned.data, self._questions_word(study), *words])).strip("-")
        return self.out / "runs" / f"{name}-{content_hash(identity, length=8)}"

    def _questions_word(self, study: Study) -> str:
        limit = self._limit or study.limit
        return f"n{limit}" if limit else "all"

    def _cell(self, study: Study, planned: Planned) -> tuple[Cell, Collection]:
        """The cell, and the collection that holds its adapters."""
        file = self.data / f"{planned.data}.jsonl"
        if not file.is_file():
            raise EvaluationError(f"no question file {str(file)!r}; give the folder that holds the study's data sets")
        questions = load_questions(file, self._limit or study.limit, task=study.task)
        directory = self.out / "collections" / planned.data
        try:
            collection = Collection.open(directory, create=False)
        except NotFoundError:
            collection = Collection.open(directory)
        if not collection.passage_ids():
            collection.add(file)
        control = control_of(collection) if planned.setting.shuffled_text else None
        return Cell(collection, self.engine, questions, planned.setting, control=control), control or collection

    def _encode(self, cell: Cell, target: Collection, modes: tuple[str, ...], progress: Progress | None) -> None:
        needed = cell.adapters_needed(modes, progress)
        if not set(needed) - target.encoded(self.engine.fingerprint, cell.setting.recipe.id):
            return
        parameterizer = StaticParameterizer(self.engine, cell.setting.recipe)
        if target is cell.collection:
            parameterizer.encode(target, needed, progress=progress)
        else:
            encode_shuffled(parameterizer, cell.collection, target, needed, progress=progress)


def _scaled(known: EncodeEstimate, passages: int, *, present: int) -> EncodeEstimate:
    """What the same recipe costs on another number of passages of about the same length."""
    share = passages / known.passages
    return replace(
        known,
        passages=passages,
        present=present,
        unaugmented=passages,
        seconds=share * known.seconds,
        bytes=round(share * known.bytes),
        tokens=round(share * known.tokens),
    )


def _metrics(questions: list[Question]) -> list[str]:
    return list(dict.fromkeys([*METRICS, *(entry.name for entry in metrics_for(questions))]))


def _told(changes: Mapping[str, Any]) -> Iterator[str]:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _told(value)
        else:
            yield f"{key} {value}"


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        fields = Variant.model_fields if "variants" in problem["loc"] else Study.model_fields
        return f"unknown setting {where!r}: {did_you_mean(str(problem['loc'][-1]), fields)}"
    return f"{where}: {problem['msg']} (got {problem['input']!r})"
