"""The augmenter with the local model and the writer adapter: one question for each thing worth asking.

A small model asked for questions repeats itself and invents. So the rules choose the answers, spread over the passage,
and the model only words a question for each, with the answer's sentence before it: shown the whole passage it mixes
things up. An adapter that learnt this from the primer is on while it writes. What it writes is validated like
everything else. Half of the items are the rules' own questions, where they have so many, and their clozes fill up
what is left.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..corpus.sentences import sentences
from ..models.prompts import chat_ids
from ..types import Injection, Passage, Progress, TrainingItem
from .prompts import asking_messages
from .report import AugmentReport
from .rules import RULES_VERSION, Rules
from .validation import validate

if TYPE_CHECKING:
    from ..infer import Engine, Request

WRITER_VERSION = "1"
"""Part of the id: raise it when the prompt, the adapter or the choice of answers changes."""
_QUESTION_TOKENS = 40
_TEMPERATURE = 0.7  # of the second wording of an answer; the first is the likeliest


class Writer:
    """Makes training items with an engine and the writer adapter.

    Example:
        items = Writer(engine, writer_adapter(engine), questions=16)(passages)
    """

    def __init__(
        self,
        engine: Engine,
        adapter: Injection,
        *,
        questions: int = 16,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Prepares the augmenter.

        Args:
            engine: words the questions.
            adapter: on while it does.
            questions: items wanted per passage.
            seed: of sampling and of the rules.
            progress: called as passages are done.
        """
        self._engine, self._adapter, self._progress = engine, adapter, progress
        self.questions, self.seed = questions, seed
        self.id = (
            f"writer/{WRITER_VERSION} base={engine.fingerprint} questions={questions} seed={seed} "
            f"top_up={RULES_VERSION}"
        )
        self.report = AugmentReport()
        self._rules = Rules(questions=questions, seed=seed)

    def __call__(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        """Returns the items of each passage: questions of the rules, the model's, then clozes."""
        started = time.perf_counter()
        made: list[list[TrainingItem]] = []
        for passage in passages:
            made.append(self._items(passage))
            if self._progress:
                self._progress("augment", len(made), len(passages))
        self.report.passages += len(passages)
        self.report.asked += len(passages) * self.questions
        self.report.kept.update(item.kind for items in made for item in items)
        self.report.seconds += time.perf_counter() - started
        return made

    def _items(self, passage: Passage) -> list[TrainingItem]:
        ruled = self._rules.items(passage, 2 * self.questions)
        chosen = list({item.answer: item for item in reversed(ruled)}.values())[::-1][: self.questions]
        requests = [self._request(passage, item, number) for number in range(2) for item in chosen]
        completions = self._engine.generate(requests)
        self.report.prompt_tokens += sum(one.prompt_tokens for one in completions)
        self.report.completion_tokens += sum(len(one.token_ids) for one in completions)
        proposed = [
            TrainingItem(passage.id, completion.text.strip(), item.answer)
            for completion, item in zip(completions, [*chosen, *chosen], strict=True)
        ]
        kept, rejected = validate(proposed, passage)
        self.report.parsed += len(proposed)
        self.report.rejected.update(entry.reason for entry in rejected)
        asked = [item for item in ruled if item.kind == "qa"][: self.questions // 2]
        mixed = validate([*asked, *kept, *ruled], passage)[0][: self.questions]
        written = {item.question for item in kept}
        self.report.topped_up += sum(item.question not in written for item in mixed)
        return mixed

    def _request(self, passage: Passage, item: TrainingItem, number: int) -> Request:
        from ..infer import Request

        shown = Passage(_around(passage.text, item), passage.title)
        ids = chat_ids(self._engine.base.tokenizer, asking_messages(shown, item.answer))
        temperature = _TEMPERATURE if number else 0.0
        return Request(
            ids, self._adapter, max_new_tokens=_QUESTION_TOKENS, temperature=temperature, seed=self.seed + number
        )


def _around(text: str, item: TrainingItem) -> str:
    """Returns the sentence of a text in which an item's answer stands."""
    at = item.span[0] if item.span else 0
    return next((text[start:end] for start, end, _ in sentences(text) if start <= at < end), text)
