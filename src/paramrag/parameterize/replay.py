"""Runs the adapted upper layers of the model again and again over fixed sequences, computing nothing twice.

Below the first adapted layer nothing depends on the adapters, and neither do the keys and values of the context. One
pass without gradients records them: the input of the first adapted layer, the context's keys and values from there
up, and the arguments with which the model calls each layer (masks, rotary embeddings), so that a replay is exact for
every architecture without knowing it.

The head is applied to candidate tokens only: all labels of the batch and what the base model finds likely. The mass of
the other tokens is kept as the base model gave it. With a vocabulary of CANDIDATES or fewer the loss is exact.

Shapes: S sequences, C context tokens, T tail tokens, D model width, V vocabulary, M labels, K candidate tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..models import BaseModel
from .contexts import Contexts
from .sequences import NO_LABEL, TrainingSequence

CANDIDATES = 8192
"""Vocabularies up to this size are used whole."""
LIKELY = 64
"""Of a larger one: the base model's likeliest tokens at each label that are candidates."""


class _ContextCache:
    """Stands in for the model's KV cache: hands out context + new keys and values, and keeps nothing."""

    def __init__(self, layers: dict[int, tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._layers = layers

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        context_keys, context_values = self._layers[layer_idx]
        return torch.cat([context_keys, keys], -2), torch.cat([context_values, values], -2)

    def rows(self, rows: torch.Tensor) -> _ContextCache:
        return _ContextCache({layer: (keys[rows], values[rows]) for layer, (keys, values) in self._layers.items()})


class Replay:
    """Sequences whose upper layers can be run with different adapters, all of them or some."""

    def __init__(
        self,
        base: BaseModel,
        batch: Sequence[TrainingSequence],
        first_layer: int,
        contexts: Contexts,
    ) -> None:
        """Reads the tails once, without gradients.

        Args:
            batch: sequences; tails are padded to the longest, so bring similar ones together.
            contexts: of at least these sequences.
            first_layer: the lowest adapted layer.
        """
        device = base.device
        width = max(len(sequence.tail) for sequence in batch)
        ids = torch.full((len(batch), width), base.tokenizer.pad_token_id or 0, dtype=torch.long)
        self._labels_ST = torch.full((len(batch), width), NO_LABEL, dtype=torch.long)
        for row, sequence in enumerate(batch):
            ids[row, : len(sequence.tail)] = torch.tensor(sequence.tail, dtype=torch.long)
            self._labels_ST[row, : len(sequence.labels)] = torch.tensor(sequence.labels, dtype=torch.long)
        self._labels_ST = self._labels_ST.to(device)
        self._base = base
        self._layers = list(base.decoder.layers)[first_layer:]

        cache, mask = contexts.joined([sequence.context for sequence in batch])
        upper = cache.layers[first_layer:]
        context = {first_layer + at: (kv.keys, kv.values) for at, kv in enumerate(upper)}  # an update replaces them
        self._context = _ContextCache(context) if context else None
        self._calls: list[dict[str, Any]] = []
        hooks = [layer.register_forward_pre_hook(self._record, with_kwargs=True) for layer in self._layers]
        try:
            with torch.no_grad():
                output = base.decoder(
                    input_ids=ids.to(device),
                    attention_mask=torch.nn.functional.pad(mask, (0, width), value=1),
                    position_ids=mask.sum(1)[:, None] + torch.arange(width, device=device),
                    past_key_values=cache,
                    use_cache=True,
                )
        finally:
            for hook in hooks:
                hook.remove()
        self._choose_candidates(output.last_hidden_state)

    def _record(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._calls:
            self._states_STD = (args[0] if args else kwargs["hidden_states"]).clone()
        dropped = ("hidden_states", "past_key_values", "use_cache")
        self._calls.append({name: value for name, value in kwargs.items() if name not in dropped})

    @torch.no_grad()
    def _choose_candidates(self, normed_STD: torch.Tensor) -> None:
        at = self._labels_ST != NO_LABEL
        size = self._base.model.get_output_embeddings().weight.shape[0]
        self._rest_ST = torch.full(self._labels_ST.shape, -torch.inf, device=self._base.device)
        if size <= CANDIDATES:
            self._candidates_K: torch.Tensor | None = None
            return
        logits_MV = self._base.head(normed_STD[at], normed=True).float()
        likely = logits_MV.topk(LIKELY, dim=-1).indices
        self._candidates_K = torch.unique(torch.cat([likely.flatten(), self._labels_ST[at]]))
        number = torch.full((size,), -1, device=self._base.device)
        number[self._candidates_K] = torch.arange(len(self._candidates_K), device=self._base.device)
        logits_MV[:, self._candidates_K] = -torch.inf
        self._rest_ST[at] = logits_MV.logsumexp(-1)
        self._labels_ST[at] = number[self._labels_ST[at]]

    def losses(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs some sequences with whatever injection is on around the call.

        Args:
            rows: sequence numbers, int64 [n].

        Returns:
            Negative log-likelihood of each label of theirs [M], and which of `rows` each belongs to, int64 [M].
        """
        states = self._states_STD[rows]
        context = self._context.rows(rows) if self._context else None
        for layer, call in zip(self._layers, self._calls, strict=True):
            states = layer(
                states, **_rows_of(call, rows, len(self._states_STD)), past_key_values=context, use_cache=bool(context)
            )
            if isinstance(states, tuple):
                states = states[0]
        labels_nT = self._labels_ST[rows]
        at = labels_nT != NO_LABEL
        logits_MK = self._base.head(states[at], tokens=self._candidates_K).float()
        total_M = torch.logaddexp(logits_MK.logsumexp(-1), self._rest_ST[rows][at])
        chosen_M = logits_MK.gather(-1, labels_nT[at][:, None])[:, 0]
        return total_M - chosen_M, at.nonzero()[:, 0]


def _rows_of(value: Any, rows: torch.Tensor, count: int) -> Any:
    """Takes rows out of every tensor that has one per sequence, through the containers a layer is called with."""
    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim and value.shape[0] == count else value
    if isinstance(value, dict):
        return {name: _rows_of(entry, rows, count) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_rows_of(entry, rows, count) for entry in value)
    return value
