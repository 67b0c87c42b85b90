"""What a hypernetwork sees of a passage: the frozen base model's states at its tokens, from several depths.

The base model is run no further than the deepest layer wanted. A passage's reading does not depend on the
hypernetwork, so it is made once and kept, as fp16.

Shapes: N passages, T tokens, S depths, C choices, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from ...models import BaseModel
from ...types import Passage
from .spelling import Choices, Spelling

MAX_TOKENS = 512
"""Of one passage; longer ones are cut at the end."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One passage."""

    ids: torch.Tensor
    """Tokens of title and text, int64 [T]."""
    states: torch.Tensor
    """Base model's states at them, float16 [T, S, D]."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Tokens that answers may have, of passages side by side, padded at the end (`spelling.Choices`)."""

    at: torch.Tensor
    """Where in the passage, int64 [N, C]."""
    tokens: torch.Tensor
    """int64 [N, C]."""
    before: torch.Tensor
    """Token before; negative where there is none, int64 [N, C]."""
    mask: torch.Tensor
    """Where there is one, bool [N, C]."""

    @classmethod
    def of(cls, choices: Sequence[Choices], device: torch.device) -> Slots:
        """Joins choices."""
        at, tokens, before = (
            torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(getattr(one, name), dtype=torch.long) for one in choices], batch_first=True
            ).to(device)
            for name in ("at", "tokens", "before")
        )
        counts = torch.tensor([len(one.at) for one in choices])
        return cls(at, tokens, before, (torch.arange(at.shape[1]) < counts[:, None]).to(device))


@dataclass(frozen=True, slots=True)
class Readings:
    """Passages side by side, padded at the end."""

    ids: torch.Tensor
    """int64 [N, T]."""
    mask: torch.Tensor
    """Where there is a token, bool [N, T]."""
    states: torch.Tensor
    """float32 [N, T, S, D]."""
    first: Slots
    """Tokens that may begin an answer."""
    following: Slots
    """Tokens that may follow another in one."""

    @classmethod
    def of(cls, base: BaseModel, readings: Sequence[Reading]) -> Readings:
        """Joins readings."""
        device, spelling = base.device, _spelling(base.tokenizer)
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad([reading.ids for reading in readings], batch_first=True)
        lengths = torch.tensor([len(reading.ids) for reading in readings])
        states = pad([reading.states.float() for reading in readings], batch_first=True)
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        first, following = zip(*(spelling.choices(reading.ids.tolist()) for reading in readings), strict=True)
        slots = Slots.of(first, device), Slots.of(following, device)
        return cls(ids.to(device), mask.to(device), states.to(device), *slots)

    def tokens(self) -> torch.Tensor:
        """Returns the tokens of the passages and those that answers may have, int64, each at least once."""
        slots = (self.first, self.following)
        return torch.cat([self.ids[self.mask], *(one.tokens[one.mask] for one in slots)])


@lru_cache(maxsize=4)
def _spelling(tokenizer: Any) -> Spelling:
    return Spelling(tokenizer)  # what it learns of words is kept


class _Deep(Exception):
    pass


@torch.no_grad()
def read(base: BaseModel, passages: Sequence[Passage], depths: Sequence[float]) -> list[Reading]:
    """Reads passages one by one.

    Args:
        depths: 0 is the embeddings, 1 the last layer's output, rounded to the nearest layer.
    """
    return [_read(base, passage, [round(depth * base.layer_count) for depth in depths]) for passage in passages]


def _read(base: BaseModel, passage: Passage, inputs_of: Sequence[int]) -> Reading:
    """Returns the inputs of some layers; the number of layers stands for the output of the last."""
    text = f"{passage.title}\n{passage.text}".strip()
    ids = base.tokenizer(text, add_special_tokens=False)["input_ids"][:MAX_TOKENS] or [base.tokenizer.eos_token_id or 0]
    found: dict[int, torch.Tensor] = {}
    deepest = max(inputs_of)

    def keep(layer: int, states: torch.Tensor) -> None:
        found[layer] = states[0].half()
        if layer == deepest:
            raise _Deep

    def before(layer: int) -> Any:
        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            keep(layer, args[0] if args else kwargs["hidden_states"])

        return hook

    places = [*base.decoder.layers, base.decoder.norm]
    hooks = [places[layer].register_forward_pre_hook(before(layer), with_kwargs=True) for layer in set(inputs_of)]
    try:
        base.decoder(input_ids=torch.tensor([ids], device=base.device), use_cache=False)
    except _Deep:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return Reading(torch.tensor(ids), torch.stack([found[layer].cpu() for layer in inputs_of], 1))
