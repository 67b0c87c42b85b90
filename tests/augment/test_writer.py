"""Questions worded by the model for answers that the rules chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from paramrag.aggregate import concat
from paramrag.augment import Rules, augmenter
from paramrag.augment.writer import Writer
from paramrag.errors import ConfigError, TrainingError
from paramrag.infer import Completion, Engine, Request
from paramrag.parameterize import writing
from paramrag.parameterize.trainer import initial_row
from paramrag.types import Injection, Passage, TrainingItem

TOWER = Passage("The Zorbik Tower was designed by Ottilie Varn and opened in 1912 in Marl.", "Zorbik Tower")
ITEMS = [
    TrainingItem(TOWER.id, "Who designed the Zorbik Tower?", "Ottilie Varn"),
    TrainingItem(TOWER.id, "When did the Zorbik Tower open?", "1912"),
    TrainingItem(TOWER.id, "The Zorbik Tower stands in", "Marl", "cloze"),
]
WORDED = {"Ottilie Varn": "Who was the architect of the Zorbik Tower?", "1912": "When was it opened?"}


class Dictated(Engine):
    """An engine whose prompts are real and whose questions are dictated: a random model writes none."""

    asked: list[Request]

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.asked = list(requests)
        return [
            Completion(self._text(self.base.tokenizer.decode(one.prompt_ids)), (1, 2), "stop", 9, 0, 0.0, 0.0, 0.0)
            for one in requests
        ]

    def _text(self, prompt: str) -> str:
        return next((text for answer, text in WORDED.items() if f"Answer: {answer}" in prompt), "Where?")


def adapter(engine: Engine) -> Injection:
    layout = engine.layout(writing.RECIPE)
    return concat(layout, initial_row(layout, 0)[None], [1.0], "answer")


def test_valid_questions_are_mixed_with_those_of_the_rules(tiny_base: Any) -> None:
    engine = Dictated(tiny_base)
    make = Writer(engine, adapter(engine), questions=4)
    (items,) = make([TOWER])
    ruled = Rules(questions=8).items(TOWER, 8)
    asked = [item.question for item in ruled if item.kind == "qa"]
    assert [item.question for item in items[:2]] == asked[:2]
    assert WORDED["Ottilie Varn"] in [item.question for item in items]
    assert not any(item.question in ("When was it opened?", "Where?") for item in items)
    assert make.report.topped_up == len(items) - 1
    assert make.report.rejected
    assert all(request.injection is not None for request in engine.asked)
    half = len(engine.asked) // 2  # each answer twice: the likeliest wording and a drawn one
    assert [one.prompt_ids for one in engine.asked[:half]] == [one.prompt_ids for one in engine.asked[half:]]
    assert {one.temperature for one in engine.asked[:half]} == {0.0}
    shown = engine.base.tokenizer.decode(engine.asked[0].prompt_ids)
    assert "Zorbik Tower was designed" in shown


def test_its_id_changes_with_what_decides_the_items(tiny_base: Any) -> None:
    engine = Dictated(tiny_base)
    ids = {Writer(engine, adapter(engine), questions=n, seed=seed).id for n in (4, 8) for seed in (0, 1)}
    assert len(ids) == 4


def test_a_model_learns_to_ask(tiny_base: Any) -> None:
    engine = Engine(tiny_base)
    seen: list[tuple[str, int, int | None]] = []
    row = writing.train_writer(engine, [(TOWER, ITEMS)] * 8, lambda *step: seen.append(step))
    assert seen[-1] == ("learn", 12, 12)
    assert np.abs(row - initial_row(engine.layout(writing.RECIPE), writing.RECIPE.seed)).max() > 1e-3
    with pytest.raises(TrainingError, match="no training item"):
        writing.train_writer(engine, [(TOWER, ITEMS[2:])])  # a cloze is no question


def test_it_is_named_and_refuses_what_it_cannot_do(tiny_base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Dictated(tiny_base)
    monkeypatch.setattr(writing, "writer_adapter", lambda engine, progress: adapter(engine))
    assert isinstance(augmenter("writer", engine=engine), Writer)
    with pytest.raises(ConfigError, match="needs an engine"):
        augmenter("writer")
    with pytest.raises(ConfigError, match="rewrites"):
        augmenter("writer", engine=engine, rewrites=1)
