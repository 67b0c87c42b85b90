"""What the base model says and computes at an answer when it reads the passage too: what an adapter can be taught.

The answer's tokens are the training item's; the prompt has the passage in it. Kept are the likeliest tokens with their
log-probabilities (as in Cartridges, arXiv 2506.06266) and the outputs of the adapted layers (arXiv 2509.01088).

Shapes: T tail tokens, K likeliest tokens, L adapted layers, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..models import BaseModel
from .contexts import Contexts, read_tails
from .sequences import TrainingSequence

LIKELIEST = 32
"""Tokens of the teacher that are kept at each position; the mass of the others is kept as one."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """The teacher at the tail of one sequence."""

    tokens: torch.Tensor
    """Likeliest next tokens, int64 [T, K]."""
    log_probabilities: torch.Tensor
    """Theirs, float32 [T, K]."""
    states: torch.Tensor
    """Outputs of the adapted layers, [T, L, D]."""


@torch.no_grad()
def lessons(base: BaseModel, examples: Sequence[TrainingSequence], layers: Sequence[int], tokens: int) -> list[Lesson]:
    """Reads sequences of one passage with it in the prompt.

    Args:
        examples: with `open_context`.
        layers: whose outputs to keep, ascending.
        tokens: context tokens to read at once.
    """
    open_contexts = [example.open_context for example in examples]
    contexts = Contexts(base, open_contexts, tokens)
    outputs: list[torch.Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    hooks = [base.decoder.layers[layer].register_forward_hook(keep) for layer in layers]
    try:
        normed_STD = read_tails(base, open_contexts, [example.tail for example in examples], contexts)
    finally:
        for hook in hooks:
            hook.remove()
    states_STLD = torch.stack(outputs, dim=2)
    made = []
    for row, example in enumerate(examples):
        length = len(example.tail)
        said_TV = base.head(normed_STD[row, :length], normed=True).float().log_softmax(-1)
        values, indices = said_TV.topk(min(LIKELIEST, said_TV.shape[-1]), dim=-1)
        made.append(Lesson(indices, values, states_STLD[row, :length].clone()))
    return made
