"""Keys and values of several sequences, each from column 0 on: a token's column is its position.

No sequence is padded in front, so causal and sliding-window masks follow from positions alone, and what is written
beyond a sequence's end is never visible. transformers' models take a `KeyValues` where they expect a cache.

Shapes: N sequences, H key heads, T columns, D head width, C new tokens per sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..errors import ModelError
from ..models import BaseModel

GRANULE = 128  # columns are made in multiples of this, so that growing by one token rarely copies

Segment = list[tuple[torch.Tensor, torch.Tensor]]
"""One sequence's keys and values, per layer [H, T, D]."""


class KeyValues:
    """A table of keys and values that grows; its first rows are what a forward pass runs over."""

    def __init__(self, rows: int, length: int) -> None:
        """Makes room for `rows` sequences of `length` tokens; tensors are made by the first pass."""
        self._rows, self._length = rows, _rounded(length)
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._count = self._end = 0
        self._at: tuple[Any, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return sum(tensor.nbytes for pair in self._layers.values() for tensor in pair)

    def reserve(self, rows: int, length: int) -> None:
        """Makes room for at least so many sequences and tokens; what is there is kept."""
        if rows <= self._rows and length <= self._length:
            return
        kept_rows, kept_length = self._rows, self._length
        if rows > self._rows:
            self._rows = max(rows, 2 * self._rows)
        if length > self._length:
            self._length = max(_rounded(length), _rounded(self._length * 5 // 4))

        def grown(old: torch.Tensor) -> torch.Tensor:
            made = old.new_zeros(self._rows, old.shape[1], self._length, old.shape[3])
            made[:kept_rows, :, :kept_length] = old
            return made

        self._layers = {layer: (grown(keys), grown(values)) for layer, (keys, values) in self._layers.items()}

    def expect(self, starts: Sequence[int], width: int) -> None:
        """Announces a pass over the first rows: row n gets `width` tokens from column `starts[n]` on."""
        self.reserve(len(starts), max(starts) + width)
        self._count, self._end = len(starts), max(starts) + width
        if min(starts) == max(starts):
            self._at = (slice(0, self._count), slice(None), slice(starts[0], self._end))
        else:
            columns = torch.tensor(starts)[:, None] + torch.arange(width)
            self._at = (torch.arange(self._count)[:, None], slice(None), columns)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores one layer's new keys and values [N, H, C, D]; returns all up to the longest row's end."""
        if layer_idx not in self._layers:
            self._layers[layer_idx] = (self._made(keys), self._made(values))
        ours = self._layers[layer_idx]
        for kept, new in zip(ours, (keys, values), strict=True):
            # columns that differ per row are indexed, which moves them in front of the heads
            kept[self._at] = new if isinstance(self._at[0], slice) else new.transpose(1, 2)
        return ours[0][: self._count, :, : self._end], ours[1][: self._count, :, : self._end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Returns the longest sequence's length; models ask where they are given no positions."""
        return self._end

    def take(self, row: int, length: int) -> Segment:
        """Returns a copy of the first tokens of a row."""
        return [(keys[row, :, :length].clone(), values[row, :, :length].clone()) for keys, values in self._ordered()]

    def put(self, row: int, segment: Segment, length: int) -> None:
        """Writes the first `length` tokens of a segment into a row."""
        self.reserve(row + 1, length)
        for layer, pair in enumerate(segment):
            if layer not in self._layers:
                self._layers[layer] = (self._made(pair[0][None]), self._made(pair[1][None]))
            for kept, new in zip(self._layers[layer], pair, strict=True):
                kept[row, :, :length] = new[:, :length]

    def copy(self, source: KeyValues, source_row: int, row: int, length: int) -> None:
        """Copies the first tokens of a row of another table, or of this one, into a row."""
        self.put(row, [(keys[source_row], values[source_row]) for keys, values in source._ordered()], length)

    def _ordered(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [self._layers[layer] for layer in sorted(self._layers)]

    def _made(self, like: torch.Tensor) -> torch.Tensor:
        # zeros, since a masked column still takes part in sums, where not-a-number would spread
        return like.new_zeros(self._rows, like.shape[1], self._length, like.shape[3])


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


def forward(
    base: BaseModel, masks: Masks, cache: KeyValues, tokens: Sequence[Sequence[int]], starts: Sequence[int]
) -> torch.Tensor:
    """Runs the decoder over new tokens of the cache's first rows; returns its normed states [N, C, D].

    Args:
        tokens: per row, as many as the longest row has or fewer; the states of what is missing mean nothing.
        starts: per row, how many tokens it has already.
    """
    width = max(map(len, tokens))
    pad = base.tokenizer.pad_token_id or 0
    ids_NC = torch.tensor([[*row, *[pad] * (width - len(row))] for row in tokens], device=base.device)
    positions_NC = torch.tensor(starts, device=base.device)[:, None] + torch.arange(width, device=base.device)
    cache.expect(starts, width)
    states: torch.Tensor = base.decoder(
        input_ids=ids_NC,
        attention_mask=masks(positions_NC, max(starts) + width),
        position_ids=positions_NC,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return states


def _rounded(length: int) -> int:
    return -(-length // GRANULE) * GRANULE
