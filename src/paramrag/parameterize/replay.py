"""Runs the adapted upper layers of the model again and again over a fixed batch, computing nothing twice.

Below the first adapted layer nothing depends on the adapters, and neither do the keys and values of the context. One
pass without gradients records them: the input of the first adapted layer, the context's keys and values from there
up, and the arguments with which the model calls each layer (masks, rotary embeddings), so that a replay is exact for
every architecture without knowing it.

Shapes: S sequences, C context tokens, T tail tokens, D model width, V vocabulary, M labels in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..infer.prefill import Prompts
from ..models import BaseModel
from .sequences import NO_LABEL, TrainingSequence


class _ContextCache:
    """Stands in for the model's KV cache: hands out context + new keys and values, and keeps nothing."""

    def __init__(self, keys: dict[int, torch.Tensor], values: dict[int, torch.Tensor]) -> None:
        self._keys, self._values = keys, values

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([self._keys[layer_idx], keys], -2), torch.cat([self._values[layer_idx], values], -2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return next(iter(self._keys.values())).shape[-2] if self._keys else 0


class Replay:
    """A batch of sequences whose upper layers can be run with different adapters.

    Attributes:
        labels: int64 [M], the tokens to predict, sequence by sequence.
        row_of_label: int64 [M], the sequence each label belongs to.
    """

    def __init__(self, base: BaseModel, batch: Sequence[TrainingSequence], first_layer: int) -> None:
        """Reads the batch once, without gradients.

        Args:
            batch: sequences; tails are padded to the longest, so bring similar ones together.
            first_layer: the lowest adapted layer.
        """
        device = base.device
        width = max(len(sequence.tail) for sequence in batch)
        ids = torch.full((len(batch), width), base.tokenizer.pad_token_id or 0, dtype=torch.long)
        labels = torch.full((len(batch), width), NO_LABEL, dtype=torch.long)
        for row, sequence in enumerate(batch):
            ids[row, : len(sequence.tail)] = torch.tensor(sequence.tail, dtype=torch.long)
            labels[row, : len(sequence.labels)] = torch.tensor(sequence.labels, dtype=torch.long)
        self._at = (labels != NO_LABEL).nonzero(as_tuple=True)
        self.labels = labels[self._at].to(device)
        self.row_of_label = self._at[0].to(device)
        self._layers = list(base.decoder.layers)[first_layer:]
        self._base = base

        prompts = Prompts(base, [sequence.context for sequence in batch])
        cached = prompts.cache.layers if prompts.mask.shape[1] else []
        keys = {first_layer + at: layer.keys.clone() for at, layer in enumerate(cached[first_layer:])}
        values = {first_layer + at: layer.values.clone() for at, layer in enumerate(cached[first_layer:])}
        self._calls: list[dict[str, Any]] = []
        hooks = [layer.register_forward_pre_hook(self._record, with_kwargs=True) for layer in self._layers]
        try:
            with torch.no_grad():
                base.decoder(
                    input_ids=ids.to(device),
                    attention_mask=torch.nn.functional.pad(prompts.mask, (0, width), value=1),
                    position_ids=prompts.lengths[:, None] + torch.arange(width, device=device),
                    past_key_values=prompts.cache,
                    use_cache=True,
                )
        finally:
            for hook in hooks:
                hook.remove()
        context = _ContextCache(keys, values) if keys else None
        for call in self._calls:
            call["past_key_values"], call["use_cache"] = context, context is not None

    def _record(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._calls:
            self._states_STD = (args[0] if args else kwargs["hidden_states"]).clone()
        self._calls.append({name: value for name, value in kwargs.items() if name != "hidden_states"})

    def logits(self) -> torch.Tensor:
        """Returns logits [M, V] where there is a label, with whatever injection is on around the call."""
        states = self._states_STD
        for layer, call in zip(self._layers, self._calls, strict=True):
            states = layer(states, **call)
            if isinstance(states, tuple):
                states = states[0]
        return self._base.head(states[self._at])
