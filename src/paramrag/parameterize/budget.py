"""What is trained together, by memory and by length.

Passages train together while their contexts' keys and values fit; of their sequences, those of similar length run
through the layers together, as many as fit until their gradient is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..models import BaseModel
from ..store.layout import AdapterLayout
from ..types import Passage
from .sequences import TrainingSequence

MEMORY = 4 << 30
"""Bytes that training may use beside the model, unless told otherwise."""
MICRO_BATCH_TOKENS = 1024
"""Tail tokens, padding counted, that run through the layers together at most; more are not faster."""
SAVED_PER_TOKEN = 12, 8
"""Numbers that a layer keeps of a token until its gradient is taken, in widths of the model and of its feed-forward
block; counted generously."""
CONTEXT_TOKENS = 4096
"""Context tokens that are read together, padding counted."""
MICRO_BATCH_ROWS = 12
"""Sequences that are worth a micro-batch of their own rather than being padded to the next length."""
KEPT_CONTEXTS = 2
"""Copies of a context's keys and values: as they were read, and as micro-batches join them."""


def micro_batch_tokens(base: BaseModel, layout: AdapterLayout, memory: int) -> int:
    """Returns how many tail tokens run through the layers together, so that a step takes half of `memory` bytes."""
    width, inner = base.shapes[0].in_features, base.shapes[0].out_features
    numbers = SAVED_PER_TOKEN[0] * width + SAVED_PER_TOKEN[1] * inner
    each = numbers * (base.layer_count - layout.layers[0]) * base.dtype.itemsize
    return max(1, min(MICRO_BATCH_TOKENS, memory // 2 // each))


def by_length(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Groups sequences of similar length, by number: each group within the token budget, padding counted."""
    groups: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if groups:
            fits = lengths[number] * (len(groups[-1]) + 1) <= tokens
            pads = lengths[number] > lengths[groups[-1][0]] and len(groups[-1]) >= MICRO_BATCH_ROWS
            if fits and not pads:
                groups[-1].append(number)
                continue
        groups.append([number])
    return groups


def by_memory(
    base: BaseModel, jobs: Sequence[tuple[Passage, list[TrainingSequence]]], memory: int
) -> Iterator[list[tuple[Passage, list[TrainingSequence]]]]:
    """Yields jobs in runs whose contexts' keys and values fit into `memory` bytes; a job too large runs alone."""
    config = base.model.config.get_text_config()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    numbers = 2 * base.layer_count * config.num_key_value_heads * head_dim
    tokens = memory // (KEPT_CONTEXTS * numbers * base.dtype.itemsize)
    together: list[tuple[Passage, list[TrainingSequence]]] = []
    held = 0
    for job in jobs:
        size = sum(len(sequence.context) for sequence in job[1])
        if together and held + size > tokens:
            yield together
            together, held = [], 0
        together.append(job)
        held += size
    if together:
        yield together
