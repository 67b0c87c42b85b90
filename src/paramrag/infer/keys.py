"""Keys and values of several sequences, each from column 0 on: a token's column is its position.

No sequence is padded in front, so causal and sliding-window masks follow from positions alone, and what is written
beyond a sequence's end is never visible. transformers' models take a `KeyValues` where they expect a cache.

Shapes: N sequences, H key heads, T columns, or new tokens of all sequences, D head width.
"""

from __future__ import annotations

from typing import Any

import torch

from .spans import Spans

GRANULE = 128  # columns are made in multiples of this, so that growing by one token rarely copies

Segment = list[tuple[torch.Tensor, torch.Tensor]]
"""One sequence's keys and values, per layer [H, T, D]."""


class KeyValues:
    """A table of keys and values that grows; its first rows are what a forward pass runs over."""

    def __init__(self, rows: int, length: int) -> None:
        """Makes room for `rows` sequences of `length` tokens; tensors are made by the first pass."""
        self._rows, self._length = rows, _rounded(length)
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._end = 0
        self._places: list[tuple[tuple[Any, ...], slice]] = []

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

    def expect(self, spans: Spans, positions_T: torch.Tensor) -> None:
        """Announces a pass over tokens at these positions."""
        self.reserve(spans.front, spans.end)
        self._end, self._places = spans.end, []
        rows = torch.arange(spans.front, device=positions_T.device)
        if spans.front:
            self._places.append(((rows, slice(None), positions_T[: spans.front]), slice(0, spans.front)))
        for row, tokens, end in spans.chunks:
            columns = slice(end - (tokens.stop - tokens.start), end)
            self._places.append(((row, slice(None), columns), tokens))

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores one layer's new keys and values [1, H, T, D] of a packed pass; returns the whole table."""
        if layer_idx not in self._layers:
            self._layers[layer_idx] = (self._made(keys), self._made(values))
        ours = self._layers[layer_idx]
        for kept, new in zip(ours, (keys, values), strict=True):
            for place, tokens in self._places:
                # columns that differ per row are indexed, which moves them in front of the heads
                own = new[0, :, tokens]
                kept[place] = own if isinstance(place[2], slice) else own.transpose(0, 1)
        return ours

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

    def copy(self, source: int, row: int, start: int, end: int) -> None:
        """Copies columns of a row into another."""
        for pair in self._layers.values():
            for kept in pair:
                kept[row, :, start:end] = kept[source, :, start:end]

    def _ordered(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [self._layers[layer] for layer in sorted(self._layers)]

    def _made(self, like: torch.Tensor) -> torch.Tensor:
        # zeros, since a masked column still takes part in sums, where not-a-number would spread
        return like.new_zeros(self._rows, like.shape[1], self._length, like.shape[3])


def _rounded(length: int) -> int:
    return -(-length // GRANULE) * GRANULE
