"""A forward pass over tokens of many rows at once: the next token of each, and chunks of prompts, without padding.

The linear layers, which are nearly all of the work, see one long sequence; only attention looks at rows. So reading a
short prompt costs its tokens and not a pass over the weights, and joins a step that the other rows need anyway.

Shapes: N rows, T tokens of the pass, S columns of the cache, H heads, D head or model width.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..errors import ModelError
from ..models import BaseModel
from ..models.packed import packed
from .injection import BatchFactors, injected
from .keys import KeyValues
from .spans import Spans


class Passes:
    """Runs one base model; a model of its own modules over the same weights, so that others may run it meanwhile."""

    def __init__(self, base: BaseModel) -> None:
        """Checks that rows of the model can be told apart.

        Raises:
            ModelError: a layer attends in another way than to everything or to a window before it.
        """
        self._base, self._masks = base, Masks(base)

    @cached_property
    def _twin(self) -> BaseModel:
        twin = packed(self._base)
        config = twin.model.config.get_text_config()
        config._attn_implementation = _by_rows(config._attn_implementation)
        return twin

    def run(
        self,
        cache: KeyValues,
        front: Sequence[int],
        chunks: Sequence[tuple[int, Sequence[int]]],
        lengths: Sequence[int],
        factors: BatchFactors | None,
        full: frozenset[int] = frozenset(),
    ) -> torch.Tensor:
        """Returns the normed states [N, D] of every row's token in front; keys and values of all tokens are kept.

        Args:
            front: per row the token that follows its chunk, or what it has already; any, where that is not known.
            chunks: rows and the prompt tokens that they read.
            lengths: per row, how many tokens it has already.
            factors: of every row; on for the tokens in front.
            full: rows for which they are on in their chunk as well.
        """
        ids, ends = list(front), list(lengths)
        positions: list[int] = []
        spans: list[tuple[int, slice, int]] = []
        for row, tokens in chunks:
            start, ends[row] = ends[row], ends[row] + len(tokens)
            spans.append((row, slice(len(ids), len(ids) + len(tokens)), ends[row]))
            positions.extend(range(start, ends[row]))
            ids.extend(tokens)
        where = Spans(len(front), tuple(spans), max(ends) + 1, full)
        base = self._twin
        positions_T = torch.tensor([*ends, *positions], device=base.device)
        cache.expect(where, positions_T)
        with injected(base, factors, where):
            states_1TD: torch.Tensor = base.decoder(
                input_ids=torch.tensor([ids], device=base.device),
                attention_mask=self._masks(positions_T[None], where.end),
                position_ids=positions_T[None],
                past_key_values=cache,
                use_cache=True,
                spans=where,
            ).last_hidden_state
        return states_1TD[0, : where.front]

    def head(self, states_ND: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, V] of normed states."""
        return self._twin.head(states_ND, normed=True)


def _by_rows(kind: str) -> str:
    """Returns the name of an attention that looks, row by row, with the attention of this name."""
    name = f"rows_{kind}"

    def attend(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor,
        *,
        spans: Spans,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        eager: Callable[..., Any] = sys.modules[type(module).__module__].eager_attention_forward
        look = ALL_ATTENTION_FUNCTIONS.get_interface(kind, eager)
        count = spans.front
        mask_N11S = attention_mask[0, 0, :count, None, None]
        seen, _ = look(
            module, query[0, :, :count].transpose(0, 1)[:, :, None], *_columns(key, value, slice(0, count), spans.end),
            mask_N11S, **options
        )  # fmt: skip
        parts = [seen.transpose(0, 1)]
        for row, tokens, end in spans.chunks:
            own = _columns(key, value, slice(row, row + 1), end)
            parts.append(look(module, query[:, :, tokens], *own, attention_mask[:, :, tokens, :end], **options)[0])
        return torch.cat(parts, dim=1), None

    if name not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(name, attend)
    return name


def _columns(key: torch.Tensor, value: torch.Tensor, rows: slice, end: int) -> tuple[torch.Tensor, torch.Tensor]:
    return key[rows, :, :end], value[rows, :, :end]


class Masks:
    """What each new token may look at, for every kind of layer that a model has."""

    def __init__(self, base: BaseModel) -> None:
        """Reads which layers slide.

        Raises:
            ModelError: a layer attends in another way than to everything or to a window before it.
        """
        config = base.model.config.get_text_config()
        self._base = base
        # a config keeps keys that are not its own, so a Llama may carry a window that its layers do not have
        declared = hasattr(type(config), "sliding_window")
        self._window: int | None = config.sliding_window if declared else None
        default = "full_attention" if self._window is None else "sliding_attention"
        self._kinds = sorted(set(getattr(config, "layer_types", None) or [default]))
        if unknown := set(self._kinds) - {"full_attention", "sliding_attention"}:
            raise ModelError(
                f"model {base.name!r} has layers of the kind {', '.join(sorted(unknown))}; expected full or sliding "
                "attention in every layer"
            )

    def __call__(self, positions_NC: torch.Tensor, length: int) -> Any:
        """Returns additive masks [N, 1, C, T]: one tensor, or one per kind of layer where the model has several."""
        made = {kind: self._mask(positions_NC, length, kind) for kind in self._kinds}
        return made if len(made) > 1 else made[self._kinds[0]]

    def _mask(self, positions_NC: torch.Tensor, length: int, kind: str) -> torch.Tensor:
        columns_T = torch.arange(length, device=positions_NC.device)
        hidden = columns_T > positions_NC[..., None]
        if kind == "sliding_attention" and self._window is not None:
            hidden |= columns_T <= positions_NC[..., None] - self._window
        mask = torch.zeros(hidden.shape, dtype=self._base.dtype, device=hidden.device)
        return mask.masked_fill_(hidden, torch.finfo(self._base.dtype).min)[:, None]
