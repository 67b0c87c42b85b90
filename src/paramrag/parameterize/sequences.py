"""Training items -> token sequences: what the adapter sees, and where its loss is.

A sequence is a context the adapter does not touch (its keys and values are the base model's) and a tail on which it
is on. With answer-time activation the tail starts at the last prompt token; with full activation it is everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..config import Recipe
from ..errors import TrainingError
from ..models import BaseModel, answer_ids, prompt_ids, stop_ids
from ..types import Passage, TrainingItem

NO_LABEL = -100
MAX_TOKENS = 3000  # of one sequence, as in the PRAG code; longer passages are cut at the end


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """One example, tokenised."""

    context: tuple[int, ...]
    """Tokens read by the base model alone."""
    tail: tuple[int, ...]
    """Tokens read with the adapter on."""
    labels: tuple[int, ...]
    """For each tail token the token it must predict, or NO_LABEL."""
    open_context: tuple[int, ...] = ()
    """The context that a teacher reads instead, with the passage in it; empty where none is wanted."""

    @property
    def label_count(self) -> int:
        """How many tokens must be predicted."""
        return sum(label != NO_LABEL for label in self.labels)


def sequences(
    base: BaseModel, recipe: Recipe, passage: Passage, items: Sequence[TrainingItem]
) -> list[TrainingSequence]:
    """Returns the examples of one passage under a recipe.

    `prag` follows arXiv 2501.15915 (and its code): the first half of the questions, rounded up, with the passage and
    with each rewrite in the prompt, the others closed book, no end token. `closed-book` is every item's question alone;
    `both` adds each again with the passage in the prompt, as it is asked where text and weights are used together.

    Raises:
        TrainingError: the items give no example, or an answer has no token.
    """
    questions = [item for item in items if item.kind != "rewrite" or recipe.training_set != "prag"]
    if not questions:
        raise TrainingError(
            f"passage {passage.id} ({passage.title!r}) has no training item; "
            "add items for it, or encode with another augmenter"
        )
    if recipe.training_set != "prag":
        ends = _ends(base)
        opened = [prompt_ids(base.tokenizer, item.question, [passage])[-MAX_TOKENS:] for item in questions]
        made = [_sequence(base, recipe, prompt_ids(base.tokenizer, item.question), item, ends) for item in questions]
        if recipe.taught:
            made = [replace(own, open_context=tuple(prompt[:-1])) for own, prompt in zip(made, opened, strict=True)]
        if recipe.training_set == "both":
            pairs = zip(opened, questions, strict=True)
            made += [_sequence(base, recipe, prompt, item, ends) for prompt, item in pairs]
        return made
    readings = [passage] + [replace(passage, text=item.answer) for item in items if item.kind == "rewrite"]
    with_text = math.ceil(len(questions) / 2)
    return [
        _sequence(base, recipe, prompt_ids(base.tokenizer, item.question, [reading] if reading else []), item, [])
        for index, item in enumerate(questions)
        for reading in (readings if index < with_text else [None])
    ]


def sequences_with(
    base: BaseModel, recipe: Recipe, items: Sequence[TrainingItem], shown: Sequence[Passage]
) -> list[TrainingSequence]:
    """Returns items as they are asked with some passages in the prompt, or none.

    Raises:
        TrainingError: an answer has no token.
    """
    return sequences_after(base, recipe, [prompt_ids(base.tokenizer, item.question, shown) for item in items], items)


def sequences_after(
    base: BaseModel, recipe: Recipe, prompts: Sequence[list[int]], items: Sequence[TrainingItem]
) -> list[TrainingSequence]:
    """Returns the answers of items, each as what is to be said after a prompt of its own.

    Raises:
        TrainingError: an answer has no token.
    """
    ends = _ends(base)
    return [_sequence(base, recipe, prompt, item, ends) for prompt, item in zip(prompts, items, strict=True)]


def _ends(base: BaseModel) -> list[int]:
    return [base.tokenizer.eos_token_id or stop_ids(base.tokenizer, base.model)[0]]


def _sequence(
    base: BaseModel, recipe: Recipe, prompt: list[int], item: TrainingItem, ending: list[int]
) -> TrainingSequence:
    answer = answer_ids(base.tokenizer, item.answer)
    if not answer:
        raise TrainingError(f"training item {item.question!r} has the answer {item.answer!r}, which has no token")
    prompt = prompt[-(MAX_TOKENS - len(answer) - 1) :]
    tokens = [*prompt, *answer, *ending]
    split = 0 if recipe.activation == "full" else len(prompt) - 1
    first_label = 0 if recipe.objective == "nll-all" else len(prompt) - 1
    labels = [NO_LABEL if at < first_label else tokens[at + 1] for at in range(len(tokens) - 1)]
    return TrainingSequence(tuple(tokens[:split]), tuple(tokens[split:-1]), tuple(labels[split:]))
