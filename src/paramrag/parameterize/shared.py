"""Trains one adapter on the items of many passages: what is common to them, such as how to answer at all.

The stacked trainer keeps the contexts of its passages in memory and goes over them again and again. Here there are too
many to keep and few passes over them: a step's contexts are read when its turn comes, and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ..errors import TrainingError
from ..infer.injection import injected, stack
from ..models import BaseModel
from ..store.layout import AdapterLayout
from ..types import Injection, Progress
from .budget import CONTEXT_TOKENS, MEMORY, by_length, micro_batch_tokens
from .contexts import Contexts
from .leaves import add_gradient, leaves
from .optimizer import StackedAdamW
from .replay import Replay
from .sequences import TrainingSequence
from .trainer import initial_row

PASSAGES_PER_STEP = 2
WARM_UP = 10
"""Steps in which the learning rate rises to its peak; it falls to zero over all steps."""


def passes(count: int, epochs: int, random: np.random.Generator) -> Iterator[list[int]]:
    """Yields which of `count` passages each step learns from: every one once an epoch, in a new order each time."""
    for _ in range(epochs):
        order = random.permutation(count).tolist()
        yield from (order[start : start + PASSAGES_PER_STEP] for start in range(0, count, PASSAGES_PER_STEP))


def train_shared(
    base: BaseModel,
    layout: AdapterLayout,
    steps: Sequence[Sequence[TrainingSequence]],
    *,
    learning_rate: float,
    clip: float = 1.0,
    seed: int = 0,
    memory: int = MEMORY,
    beneath: Injection | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Returns an adapter row float32 [P], trained with AdamW on the mean loss of each step's labels.

    Args:
        steps: the sequences of each optimiser step, in order; those that share a passage in their context belong into
            one step, where it is read once.
        memory: bytes to use beside the model.
        beneath: on, unchanged, under the adapter.
        progress: called as ("learn", steps done, steps).

    Raises:
        TrainingError: there is no step, or the loss is not finite.
    """
    if not any(steps):
        raise TrainingError("there is no training item to learn from; give passages with items")
    rows = torch.from_numpy(initial_row(layout, seed))[None].to(base.device)
    optimizer = StackedAdamW(rows, clip=clip)
    under, tokens = stack([beneath], base), micro_batch_tokens(base, layout, memory)
    for number, examples in enumerate(steps):
        gradient = torch.zeros_like(rows)
        labels = sum(example.label_count for example in examples)
        contexts = Contexts(base, (example.context for example in examples), CONTEXT_TOKENS)
        for group in by_length([len(example.tail) for example in examples], tokens):
            chosen = [examples[at] for at in group]
            owners = torch.zeros(len(chosen), dtype=torch.long, device=base.device)
            factors = leaves(layout, rows, owners, base.dtype)
            with injected(base, under):
                replay = Replay(base, chosen, layout.layers, contexts)
                with injected(base, factors):
                    loss = replay.losses(torch.arange(len(chosen), device=base.device)).nll.sum() / labels
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss.item()} at step {number + 1} of {len(steps)}, learning rate {learning_rate:g}; "
                    "lower learning_rate in the recipe"
                )
            torch.autograd.backward(loss)
            add_gradient(layout, gradient, factors, owners)
        rate = learning_rate * min(1.0, (number + 1) / WARM_UP) * (1.0 - number / len(steps))
        optimizer.step(rows, gradient, torch.tensor([rate], device=base.device))
        if progress:
            progress("learn", number + 1, len(steps))
    return rows[0].cpu().numpy().astype(np.float32, copy=True)
