"""Logits -> next token, greedy or sampled, reproducible per request. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Collection

import torch

from .request import TokenLogprob


def next_token(
    logits_V: torch.Tensor, *, temperature: float = 0.0, top_p: float = 1.0, generator: torch.Generator | None = None
) -> int:
    """Returns a token id: the most likely at temperature 0, else drawn from the nucleus of mass `top_p`.

    Nucleus sampling: arXiv 1904.09751, section 3.1.
    """
    if temperature <= 0:
        return int(logits_V.argmax())
    probabilities, order = torch.softmax(logits_V.float() / temperature, dim=-1).sort(descending=True)
    outside = probabilities.cumsum(0) - probabilities >= top_p  # the first token always stays
    probabilities = probabilities.masked_fill(outside, 0.0)
    return int(order[torch.multinomial(probabilities.cpu(), 1, generator=generator)[0]])


def only(logits_V: torch.Tensor, allowed: Collection[int]) -> torch.Tensor:
    """Returns the logits with every token but the allowed ones ruled out."""
    kept = torch.tensor(sorted(allowed), device=logits_V.device)
    return torch.full_like(logits_V, -torch.inf).index_copy(0, kept, logits_V[kept])


def logprobs(logits_V: torch.Tensor, token: int, count: int) -> TokenLogprob:
    """Returns how likely a token is, and the `count` likeliest ones."""
    logprobs_V = torch.log_softmax(logits_V.float(), dim=-1)
    values, ids = logprobs_V.topk(min(count, len(logprobs_V)))
    return TokenLogprob(token, float(logprobs_V[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))
