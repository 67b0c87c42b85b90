"""Keys and values of the contexts of training sequences, each read once by the base model.

Contexts are read with others that begin alike and are of their length, and joined later with those of the micro-batch
that they are needed in: micro-batches are formed by the length of what is trained.

Shapes: S sequences, H heads, C context tokens, D head width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from transformers import DynamicCache

from ..infer.prefill import Prompts, common_prefix
from ..models import BaseModel

ROWS = 8
"""Contexts that are worth a batch of their own rather than being padded to the next length."""


class Contexts:
    """What the base model makes of some token sequences."""

    def __init__(self, base: BaseModel, contexts: Iterable[tuple[int, ...]], tokens: int) -> None:
        """Reads every different context once.

        Args:
            contexts: token ids; may be empty.
            tokens: how many to read at once, padding counted.
        """
        self._base = base
        self._read: dict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = {}  # per layer, [H, C, D]
        for family in _families(set(contexts)):
            group: list[tuple[int, ...]] = []
            for context in sorted(family, key=len):
                longer = group and len(context) > len(group[0]) and len(group) >= ROWS
                if group and (longer or len(context) * (len(group) + 1) > tokens):
                    self._add(group)
                    group = []
                group.append(context)
            self._add(group)

    def _add(self, group: Sequence[tuple[int, ...]]) -> None:
        prompts = Prompts(self._base, group)
        for row, context in enumerate(group):
            at = prompts.mask[row].bool()
            self._read[context] = [(kv.keys[row][:, at], kv.values[row][:, at]) for kv in prompts.cache.layers]

    def joined(self, contexts: Sequence[tuple[int, ...]]) -> tuple[DynamicCache, torch.Tensor]:
        """Returns contexts as one cache, padded in front to the longest, and its mask int64 [S, C]."""
        width = max(map(len, contexts))
        mask = torch.zeros(len(contexts), width, dtype=torch.long, device=self._base.device)
        for row, context in enumerate(contexts):
            mask[row, width - len(context) :] = 1
        cache = DynamicCache()
        if width:
            longest = self._read[max(contexts, key=len)]
            for layer, like in enumerate(longest):
                joined = [kv.new_zeros(len(contexts), len(kv), width, kv.shape[-1]) for kv in like]
                for row, context in enumerate(contexts):
                    if context:
                        for into, part in zip(joined, self._read[context][layer], strict=True):
                            into[row, :, width - len(context) :] = part
                cache.update(joined[0], joined[1], layer)
        return cache, mask


def read_tails(
    base: BaseModel, contexts: Sequence[tuple[int, ...]], tails: Sequence[tuple[int, ...]], read: Contexts
) -> torch.Tensor:
    """Runs the model over tails that follow contexts, with whatever hooks are on.

    Returns:
        The final norm's output [S, T, D], padded at the end.
    """
    cache, mask = read.joined(contexts)
    width = max(map(len, tails))
    ids = torch.full((len(tails), width), base.tokenizer.pad_token_id or 0, dtype=torch.long)
    for row, tail in enumerate(tails):
        ids[row, : len(tail)] = torch.tensor(tail)
    output = base.decoder(
        input_ids=ids.to(base.device),
        attention_mask=torch.nn.functional.pad(mask, (0, width), value=1),
        position_ids=mask.sum(1)[:, None] + torch.arange(width, device=base.device),
        past_key_values=cache,
        use_cache=True,
    )
    states: torch.Tensor = output.last_hidden_state
    return states


def _families(contexts: Iterable[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Puts contexts together that begin alike, such as questions about one passage in the prompt: read once for all."""
    families: list[list[tuple[int, ...]]] = []
    for context in sorted(contexts):
        if families:
            alike = common_prefix([families[-1][-1], context]) >= len(context) // 2
            if alike or len(families[-1]) < ROWS:
                families[-1].append(context)
                continue
        families.append([context])
    return families
