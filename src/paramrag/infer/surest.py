"""Late fusion: of several completions of one question, the one the model is surest of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .request import Completion


def surest(completions: Sequence[Completion], doubts: Sequence[float] = ()) -> Completion:
    """Returns the completion whose tokens were likeliest on average, the first of equals; an empty one comes last.

    Tokens of the prompts are added up and times are those of the slowest: all of it was needed for the answer.

    Args:
        completions: of requests with `logprobs`; at least one.
        doubts: what is taken off each one's mean log-probability, in nats; none if empty.
    """
    sure = [
        mean_logprob(one) - doubt for one, doubt in zip(completions, doubts or [0.0] * len(completions), strict=True)
    ]
    chosen = completions[sure.index(max(sure))]
    return replace(
        chosen,
        prompt_tokens=sum(one.prompt_tokens for one in completions),
        reused_tokens=sum(one.reused_tokens for one in completions),
        queue_ms=max(one.queue_ms for one in completions),
        prefill_ms=max(one.prefill_ms for one in completions),
        decode_ms=max(one.prefill_ms + one.decode_ms for one in completions)
        - max(one.prefill_ms for one in completions),
    )


def mean_logprob(completion: Completion) -> float:
    """Returns the mean natural logarithm of the tokens' probabilities; -inf for none."""
    said = completion.logprobs
    return sum(token.logprob for token in said) / len(said) if said else -math.inf
