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
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from ..models import BaseModel
from .contexts import Contexts
from .sequences import NO_LABEL, TrainingSequence
from .teacher import Lesson

CANDIDATES = 8192
"""Vocabularies up to this size are used whole."""
LEAST_MASS = 1e-6
"""A student that leaves no mass to the other tokens is not punished without limit."""
LIKELY = 64
"""Of a larger one: the base model's likeliest tokens at each label that are candidates."""


class Losses(NamedTuple):
    """Of M labels, in nats."""

    nll: torch.Tensor
    """Negative log-likelihood [M]."""
    owners: torch.Tensor
    """Which of the sequences asked for each label belongs to, int64 [M]."""
    divergence: torch.Tensor | None = None
    """From the teacher's next-token distribution [M]; None without lessons."""
    angle: torch.Tensor | None = None
    """1 - cosine to the teacher's outputs of the adapted layers, deep ones weighted more [M]; None without lessons.
    (arXiv 2509.01088 weights layer i by i.)"""


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
        layers: Sequence[int],
        contexts: Contexts,
        lessons: Sequence[Lesson] = (),
    ) -> None:
        """Reads the tails once, without gradients.

        Args:
            batch: sequences; tails are padded to the longest, so bring similar ones together.
            layers: the adapted layers, ascending.
            contexts: of at least these sequences.
            lessons: what a teacher says to each sequence; none where nothing asks for it.
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
        first_layer = layers[0]
        self._layers = list(base.decoder.layers)[first_layer:]
        self._adapted = frozenset(layer - first_layer for layer in layers)

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
        self._lesson = _padded(lessons, width) if lessons else None
        depth = torch.tensor([layer + 1.0 for layer in layers], device=device)
        self._layer_weights_L = depth / depth.sum()
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
        candidates = [logits_MV.topk(LIKELY, dim=-1).indices.flatten(), self._labels_ST[at]]
        if self._lesson is not None:
            candidates.append(self._lesson.tokens[at].flatten())
        self._candidates_K = torch.unique(torch.cat(candidates))
        number = torch.full((size,), -1, device=self._base.device)
        number[self._candidates_K] = torch.arange(len(self._candidates_K), device=self._base.device)
        logits_MV[:, self._candidates_K] = -torch.inf
        self._rest_ST[at] = logits_MV.logsumexp(-1)
        self._labels_ST[at] = number[self._labels_ST[at]]
        if self._lesson is not None:
            self._lesson = replace(self._lesson, tokens=number[self._lesson.tokens].clamp(min=0))

    def losses(self, rows: torch.Tensor) -> Losses:
        """Runs some sequences, int64 [n], with whatever injection is on around the call."""
        states = self._states_STD[rows]
        context = self._context.rows(rows) if self._context else None
        labels_nT = self._labels_ST[rows]
        at = labels_nT != NO_LABEL
        outputs: list[torch.Tensor] = []
        for position, (layer, call) in enumerate(zip(self._layers, self._calls, strict=True)):
            states = layer(
                states, **_rows_of(call, rows, len(self._states_STD)), past_key_values=context, use_cache=bool(context)
            )
            if isinstance(states, tuple):
                states = states[0]
            if self._lesson is not None and position in self._adapted:
                outputs.append(states[at])
        logits_MK = self._base.head(states[at], tokens=self._candidates_K).float()
        total_M = torch.logaddexp(logits_MK.logsumexp(-1), self._rest_ST[rows][at])
        chosen_M = logits_MK.gather(-1, labels_nT[at][:, None])[:, 0]
        owners_M = at.nonzero()[:, 0]
        if self._lesson is None:
            return Losses(total_M - chosen_M, owners_M)
        said = logits_MK.gather(-1, self._lesson.tokens[rows][at]) - total_M[:, None]
        divergence_M = _divergence(self._lesson.log_probabilities[rows][at], said)
        taught_MLD = self._lesson.states[rows][at]
        angles_ML = 1 - nn.functional.cosine_similarity(torch.stack(outputs, 1).float(), taught_MLD.float(), dim=-1)
        return Losses(total_M - chosen_M, owners_M, divergence_M, angles_ML @ self._layer_weights_L)


def _padded(lessons: Sequence[Lesson], width: int) -> Lesson:
    """Returns the lessons of all sequences as one, [S, T, ...], zeros behind the ends of tails."""

    def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
        whole = parts[0].new_zeros(len(parts), width, *parts[0].shape[1:])
        for row, part in enumerate(parts):
            whole[row, : len(part)] = part
        return whole

    return Lesson(
        joined([lesson.tokens for lesson in lessons]),
        joined([lesson.log_probabilities for lesson in lessons]),
        joined([lesson.states for lesson in lessons]),
    )


def _divergence(teacher_MK: torch.Tensor, student_MK: torch.Tensor) -> torch.Tensor:
    """Returns KL(teacher || student) [M] in nats over K tokens and, as one, all others; log-probabilities [M, K]."""
    known = (teacher_MK.exp() * (teacher_MK - student_MK)).sum(-1)
    rest_teacher, rest_student = (1 - side.exp().sum(-1) for side in (teacher_MK, student_MK))
    rest_teacher, rest_student = rest_teacher.clamp(min=0), rest_student.clamp(min=LEAST_MASS)
    return known + torch.xlogy(rest_teacher, rest_teacher) - rest_teacher * rest_student.log()


def _rows_of(value: Any, rows: torch.Tensor, count: int) -> Any:
    """Takes rows out of every tensor that has one per sequence, through the containers a layer is called with."""
    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim and value.shape[0] == count else value
    if isinstance(value, dict):
        return {name: _rows_of(entry, rows, count) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_rows_of(entry, rows, count) for entry in value)
    return value
