"""Slow, obvious twins of the injection and of the trainer: dense updates, whole sequences, no cache, no batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from paramrag.config import Recipe
from paramrag.models import BaseModel
from paramrag.parameterize.sequences import NO_LABEL, TrainingSequence
from paramrag.store.layout import AdapterLayout


def dense_updates(layout: AdapterLayout, row: Any) -> dict[tuple[int, str], Any]:
    """(layer, module) -> the dense update scale * B^T A, [out, in], written as a loop over the row."""
    row = torch.as_tensor(row)
    found: dict[tuple[int, str], dict[str, Any]] = {}
    at = 0
    for module in layout.modules:
        for factor, width in (("a", module.in_features), ("b", module.out_features)):
            for layer in layout.layers:
                size = layout.rank * width
                found.setdefault((layer, module.name), {})[factor] = row[at : at + size].reshape(layout.rank, width)
                at += size
    assert at == len(row)
    return {key: layout.scale * pair["b"].T @ pair["a"] for key, pair in found.items()}


@contextmanager
def merged(base: BaseModel, layout: AdapterLayout, rows: np.ndarray, weights: Sequence[float]) -> Iterator[None]:
    """Adds the updates to the weights themselves, and puts the old weights back."""
    saved = {
        (layer, name): linear.weight.data.clone() for layer, ffn in enumerate(base.ffn) for name, linear in ffn.items()
    }
    try:
        for row, weight in zip(rows, weights, strict=True):
            for (layer, name), update in dense_updates(layout, row).items():
                base.ffn[layer][name].weight.data += weight * update
        yield
    finally:
        for (layer, name), weight in saved.items():
            base.ffn[layer][name].weight.data = weight


@contextmanager
def on_from(base: BaseModel, updates: dict[tuple[int, str], Any], first: int) -> Iterator[None]:
    """Adds dense updates at token positions >= first only: the definition of answer-time activation."""
    handles = []
    for (layer, name), update in updates.items():

        def add(_: Any, args: Any, output: torch.Tensor, update: Any = update) -> torch.Tensor:
            on = (torch.arange(output.shape[1]) >= first)[None, :, None]
            return output + on * (args[0] @ update.T)

        handles.append(base.ffn[layer][name].register_forward_hook(add))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def greedy(
    base: BaseModel, updates: dict[tuple[int, str], Any], prompt: Sequence[int], first: int, count: int
) -> list[int]:
    """Generates token by token, reading everything anew each time."""
    tokens = list(prompt)
    for _ in range(count):
        with torch.no_grad(), on_from(base, updates, first):
            tokens.append(int(base.model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


def read(base: BaseModel, tokens: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Returns logits [T, V] and each layer's output [T, D], read by hooks."""
    states: list[torch.Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        states.append((output[0] if isinstance(output, tuple) else output)[0])

    handles = [layer.register_forward_hook(keep) for layer in base.decoder.layers]
    try:
        return base.model(input_ids=tokens, use_cache=False).logits[0], states
    finally:
        for handle in handles:
            handle.remove()


def coarse_divergence(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """KL over the teacher's 32 likeliest tokens and one for all others, from logits [V]."""
    p, q = teacher.softmax(-1), student.softmax(-1)
    likeliest = p.argsort(descending=True)[:32]
    others = torch.ones_like(p, dtype=torch.bool)
    others[likeliest] = False
    whole_p = torch.cat([p[likeliest], p[others].sum()[None]])
    whole_q = torch.cat([q[likeliest], q[others].sum()[None]])
    return (whole_p * (whole_p / whole_q).log()).sum()


def train_alone(
    base: BaseModel, recipe: Recipe, layout: AdapterLayout, start: np.ndarray, examples: Sequence[TrainingSequence]
) -> tuple[np.ndarray, list[float]]:
    """Trains one adapter by torch's own AdamW over whole sequences, one at a time; returns row and losses."""
    row = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = torch.optim.AdamW([row], lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    losses = []
    for _ in range(recipe.epochs):
        total, labels = torch.zeros(()), 0
        for example in examples:
            tokens = torch.tensor([[*example.context, *example.tail]])
            wanted = torch.tensor([*[NO_LABEL] * len(example.context), *example.labels])
            with on_from(base, dense_updates(layout, row), len(example.context)):
                logits, states = read(base, tokens)
            nll = torch.nn.functional.cross_entropy(logits, wanted, ignore_index=NO_LABEL, reduction="sum")
            total = total + recipe.nll_weight * nll
            if recipe.taught:
                with torch.no_grad():
                    said, thought = read(base, torch.tensor([[*example.open_context, *example.tail]]))
                for position in (wanted != NO_LABEL).nonzero()[:, 0].tolist():
                    open_position = position + len(example.open_context) - len(example.context)
                    total = total + recipe.kl_weight * coarse_divergence(said[open_position], logits[position])
                    depths = sum(layer + 1 for layer in layout.layers)
                    for layer in layout.layers:
                        pair = states[layer][position], thought[layer][open_position]
                        angle = 1 - torch.nn.functional.cosine_similarity(*pair, dim=0)
                        total = total + recipe.state_weight * angle * (layer + 1) / depths
            labels += int((wanted != NO_LABEL).sum())
        loss = total / labels
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_([row], recipe.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    return row.detach().numpy(), losses
