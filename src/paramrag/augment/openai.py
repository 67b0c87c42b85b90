"""The augmenter with an OpenAI-compatible endpoint: one JSON reply per passage, validated, topped up by rules.

Several requests run at once. A passage whose request fails for good has no items and is named in the report, so that
it can be asked again; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..errors import AugmentError, ConfigError
from ..types import Passage, Progress, TrainingItem
from .endpoint import Endpoint, EndpointRefusedError, Reply
from .prompts import PROMPTS_VERSION, json_messages, read_json
from .report import AugmentReport, FailedPassage
from .rewriting import question as rewrite_question
from .rules import RULES_VERSION, Rules
from .validation import LONG_KINDS, validate

_READINGS = 3  # replies asked for until one can be read


class OpenAI:
    """Makes training items with an endpoint.

    Example:
        items = OpenAI("gpt-4o-mini", questions=16)(passages)
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        questions: int = 16,
        rewrites: int = 0,
        seed: int = 0,
        concurrency: int = 8,
        prices: tuple[float, float] | None = None,
        timeout_s: float = 120.0,
        attempts: int = 5,
        backoff_s: float = 1.0,
        top_up: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Prepares the augmenter; the key comes from the environment variable OPENAI_API_KEY.

        Args:
            model: the endpoint's name of it.
            base_url: up to and including `/v1`; None for OpenAI's.
            questions: question items wanted per passage.
            rewrites: rewrites wanted per passage.
            seed: of the rules that top up.
            concurrency: most requests at once.
            prices: of a million prompt tokens and of a million completion tokens, for `report.cost`.
            timeout_s: of one try.
            attempts: tries per request.
            backoff_s: first wait between tries; doubles.
            top_up: fill up with the rules where a reply gives too few valid items.
            progress: called as passages are done.

        Raises:
            ConfigError: no model, no key for OpenAI's own server, or no address.
        """
        if not model.strip():
            raise ConfigError(
                "augmenter 'openai:' names no model; expected openai:MODEL, for example openai:gpt-4o-mini"
            )
        self._model, self._progress, self._concurrency, self._prices = model, progress, concurrency, prices
        self._endpoint = Endpoint(base_url, timeout_s=timeout_s, attempts=attempts, backoff_s=backoff_s)
        self.questions, self.rewrites, self.top_up = questions, rewrites, top_up
        self.id = (
            f"openai:{model}/{PROMPTS_VERSION} url={self._endpoint.url} questions={questions} rewrites={rewrites} "
            f"seed={seed} top_up={RULES_VERSION if top_up else 'none'}"
        )
        self.report = AugmentReport(cost=None if prices is None else 0.0)
        self._rules = Rules(questions=questions, rewrites=rewrites, seed=seed)

    def __call__(self, passages: Sequence[Passage]) -> list[list[TrainingItem]]:
        """Returns the items of each passage; none for one whose request failed (see `report.failed`).

        Raises:
            EndpointRefusedError: the server refuses key, address or model.
        """
        started = time.perf_counter()
        made: list[list[TrainingItem]] = []
        pool = ThreadPoolExecutor(max_workers=self._concurrency)
        try:
            for passage, outcome in zip(passages, pool.map(self._ask, passages), strict=True):
                made.append(self._taken(passage, outcome))
                if self._progress:
                    self._progress("augment", len(made), len(passages))
        finally:
            pool.shutdown(cancel_futures=True)
        self.report.passages += len(passages)
        self.report.asked += len(passages) * (self.questions + self.rewrites)
        self.report.kept.update(item.kind for items in made for item in items)
        self.report.seconds += time.perf_counter() - started
        return made

    def _ask(self, passage: Passage) -> tuple[list[TrainingItem], list[Reply], str]:
        """Returns (proposed items, replies paid for, why there are none); runs in a thread, touches nothing shared."""
        replies: list[Reply] = []
        messages = json_messages(passage, self.questions, self.rewrites)
        for _ in range(_READINGS):
            try:
                replies.append(self._endpoint.chat(self._model, messages))
            except EndpointRefusedError:
                raise
            except AugmentError as error:
                return [], replies, str(error)
            items = read_json(replies[-1].text, passage, rewrite_question(passage))
            if items:
                return items, replies, ""
        return [], replies, f"{_READINGS} replies held no items, the last began {replies[-1].text[:80]!r}"

    def _taken(self, passage: Passage, outcome: tuple[list[TrainingItem], list[Reply], str]) -> list[TrainingItem]:
        proposed, replies, trouble = outcome
        self.report.prompt_tokens += sum(reply.prompt_tokens for reply in replies)
        self.report.completion_tokens += sum(reply.completion_tokens for reply in replies)
        if self._prices is not None:
            tokens = (self.report.prompt_tokens, self.report.completion_tokens)
            self.report.cost = sum(price * count / 1e6 for price, count in zip(self._prices, tokens, strict=True))
        if trouble:
            self.report.failed.append(FailedPassage(passage.id, trouble))
            return []
        kept, rejected = validate(proposed, passage)
        self.report.parsed += len(proposed)
        self.report.rejected.update(entry.reason for entry in rejected)
        questions = [item for item in kept if item.kind not in LONG_KINDS][: self.questions]
        rewrites = [item for item in kept if item.kind in LONG_KINDS][: self.rewrites]
        if not self.top_up:
            return questions + rewrites
        own = len(questions) + len(rewrites)
        if len(questions) < self.questions:
            questions = validate([*questions, *self._rules.items(passage, self.questions)], passage)[0][
                : self.questions
            ]
        if len(rewrites) < self.rewrites:
            rewrites = validate([*rewrites, *self._rules.restatements(passage, self.rewrites)], passage)[0]
            rewrites = rewrites[: self.rewrites]
        self.report.topped_up += len(questions) + len(rewrites) - own
        return questions + rewrites
