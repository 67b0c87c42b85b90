"""The augmenter with the local model: few-shot lines, several samples, validated, read back, topped up by rules.

Small models repeat themselves and invent; what they write is kept only if the passage says it and, where the round
trip is on, if the model that reads the passage gives the same answer. Passages share batches.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..models.prompts import chat_ids, prompt_ids
from ..types import Passage, Progress, TrainingItem
from .prompts import PROMPTS_VERSION, line_messages, read_lines, rewrite_messages
from .report import AugmentReport
from .rewriting import question as rewrite_question
from .rules import RULES_VERSION, Rules
from .validation import validate
from .words import contains

if TYPE_CHECKING:
    from ..infer import Engine, Request

_LINE_TOKENS = 28  # of one question line
_MOST_LINES = 12  # asked of one sample: small models repeat themselves after that


class LocalModel:
    """Makes training items with an engine.

    Example:
        items = LocalModel(engine, questions=16)(passages)
    """

    def __init__(
        self,
        engine: Engine,
        *,
        questions: int = 16,
        rewrites: int = 0,
        seed: int = 0,
        samples: int = 3,
        temperature: float = 0.7,
        round_trip: bool = True,
        top_up: bool = True,
        checked: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Prepares the augmenter.

        Args:
            engine: answers the prompts.
            questions: question items wanted per passage.
            rewrites: rewrites wanted per passage.
            seed: of sampling and of the rules.
            samples: replies drawn per passage.
            temperature: of sampling.
            round_trip: keep a question only if the engine, reading the passage, gives its answer.
            top_up: fill up with the rules where the model gives too few.
            checked: keep only what the passage bears out; off, to see what that is worth, everything that can be read
                is kept, as in the published code, and there is no round trip.
            progress: called as passages are done.
        """
        self._engine, self._progress = engine, progress
        self.questions, self.rewrites, self.seed = questions, rewrites, seed
        self.samples, self.temperature, self.top_up = samples, temperature, top_up
        self.checked, self.round_trip = checked, round_trip and checked
        self.id = (
            f"model/{PROMPTS_VERSION} base={engine.fingerprint} questions={questions} rewrites={rewrites} seed={seed} "
            f"samples={samples} temperature={temperature} round_trip={self.round_trip} "
            f"top_up={RULES_VERSION if top_up else 'none'}{'' if checked else ' unchecked'}"
        )
        self.report = AugmentReport()
        self._rules = Rules(questions=questions, rewrites=rewrites, seed=seed)

    def __call__(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        """Returns the items of each passage: the model's own first, then those of the rules."""
        started = time.perf_counter()
        made: list[list[TrainingItem]] = []
        group = max(1, self._engine.max_batch // max(1, self.samples))
        for start in range(0, len(passages), group):
            made += self._group(passages[start : start + group])
            if self._progress:
                self._progress("augment", len(made), len(passages))
        self.report.passages += len(passages)
        self.report.asked += len(passages) * (self.questions + self.rewrites)
        self.report.kept.update(item.kind for items in made for item in items)
        self.report.seconds += time.perf_counter() - started
        return made

    def _group(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        replies = self._sampled(passages, self.samples if self.questions else 0)
        proposed = [
            [item for text in texts for item in read_lines(text, passage)]
            for passage, texts in zip(passages, replies, strict=True)
        ]
        kept = [self._validated(items, passage) for passage, items in zip(passages, proposed, strict=True)]
        if self.round_trip:
            kept = self._read_back(passages, kept)
        rewritten = self._rewritten(passages) if self.rewrites else [[] for _ in passages]
        return [
            [*self._filled(passage, items), *rewrites]
            for passage, items, rewrites in zip(passages, kept, rewritten, strict=True)
        ]

    def _validated(self, items: Sequence[TrainingItem], passage: Passage) -> list[TrainingItem]:
        self.report.parsed += len(items)
        if not self.checked:
            return list({(item.question, item.answer): item for item in items}.values())
        kept, rejected = validate(items, passage)
        self.report.rejected.update(entry.reason for entry in rejected)
        return kept

    def _filled(self, passage: Passage, items: list[TrainingItem]) -> list[TrainingItem]:
        own = items[: self.questions]
        if not self.top_up or len(own) == self.questions:
            return own
        rules = self._rules.items(passage, self.questions)
        kept = validate([*own, *rules], passage)[0] if self.checked else [*own, *rules]
        self.report.topped_up += min(len(kept), self.questions) - len(own)
        return kept[: self.questions]

    def _sampled(self, passages: Sequence[Passage], samples: int) -> list[list[str]]:
        tokenizer = self._engine.base.tokenizer
        lines = min(_MOST_LINES, self.questions)
        requests = [
            self._request(chat_ids(tokenizer, line_messages(passage)), lines * _LINE_TOKENS, self.seed + number)
            for passage in passages
            for number in range(samples)
        ]
        texts = self._generate(requests)
        return [texts[at * samples : (at + 1) * samples] for at in range(len(passages))]

    def _rewritten(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        """The model's rewrites where they hold, else restatements by rule."""
        tokenizer = self._engine.base.tokenizer
        requests = [
            self._request(ids, min(512, len(ids) + 64), self.seed + number)
            for passage in passages
            for ids in [chat_ids(tokenizer, rewrite_messages(passage))]
            for number in range(self.rewrites)
        ]
        texts = self._generate(requests)
        made = []
        for at, passage in enumerate(passages):
            own = texts[at * self.rewrites : (at + 1) * self.rewrites]
            items = [
                TrainingItem(passage.id, rewrite_question(passage, number), text.strip(), "rewrite")
                for number, text in enumerate(own)
            ]
            kept = self._validated(items, passage)
            if self.top_up and len(kept) < self.rewrites:
                more, _ = validate([*kept, *self._rules.restatements(passage, self.rewrites)], passage)
                self.report.topped_up += min(len(more), self.rewrites) - len(kept)
                kept = more[: self.rewrites]
            made.append(kept)
        return made

    def _read_back(
        self, passages: Sequence[Passage], items: Sequence[Sequence[TrainingItem]]
    ) -> list[list[TrainingItem]]:
        """Keeps the questions to which the engine, with the passage in the prompt, gives the item's answer."""
        from ..infer import Request

        tokenizer = self._engine.base.tokenizer
        texts = iter(
            self._generate(
                [
                    Request(prompt_ids(tokenizer, item.question, [passage]), max_new_tokens=32)
                    for passage, own in zip(passages, items, strict=True)
                    for item in own
                ]
            )
        )
        kept = [[item for item in own if contains(next(texts), item.answer)] for own in items]
        self.report.rejected["round trip gives another answer"] += sum(map(len, items)) - sum(map(len, kept))
        return kept

    def _request(self, ids: list[int], tokens: int, seed: int) -> Request:
        from ..infer import Request

        return Request(ids, max_new_tokens=tokens, temperature=self.temperature, top_p=0.95, seed=seed)

    def _generate(self, requests: Sequence[Request]) -> list[str]:
        completions = self._engine.generate(requests)
        self.report.prompt_tokens += sum(one.prompt_tokens for one in completions)
        self.report.completion_tokens += sum(len(one.token_ids) for one in completions)
        return [one.text for one in completions]
