"""Keys and values of prompts that were read, kept for prompts that begin alike.

With activation `answer` the base model alone reads a prompt, so what is kept here is right whatever is injected later:
the modes, and all adapters, share it. Bounded in bytes; what was used longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from .keys import Segment

SHORTEST = 8
"""Fewer common tokens are not worth copying."""
NEWS = 4
"""A prompt is kept where at least one in so many of its tokens was unknown: another question about passages that are
here already would take their place once more."""


class PrefixCache:
    """Prompts and their keys and values."""

    def __init__(self, limit_bytes: int) -> None:
        """Makes a cache; 0 bytes keep nothing."""
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._entries: OrderedDict[bytes, tuple[np.ndarray, Segment, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, prompt: np.ndarray) -> tuple[int, Segment]:
        """Returns how many leading tokens of a prompt are known, and a segment that begins with them."""
        best, found = 0, b""
        for name, (ids, _, _) in self._entries.items():
            common = common_length(ids, prompt)
            if common > best:
                best, found = common, name
        if best < SHORTEST:
            return 0, []
        self._entries.move_to_end(found)
        return best, self._entries[found][1]

    def keep(self, prompt: np.ndarray, segment: Segment) -> None:
        """Keeps a prompt; those that it begins with are dropped, since it serves for them."""
        size = sum(tensor.nbytes for pair in segment for tensor in pair)
        if size > self.limit_bytes or len(prompt) < SHORTEST:
            return
        covered = [
            name
            for name, (own, _, _) in self._entries.items()
            if len(own) <= len(prompt) and common_length(own, prompt) == len(own)
        ]
        for name in covered:
            self._drop(name)
        while self.size_bytes + size > self.limit_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[prompt.tobytes()] = (prompt, segment, size)
        self.size_bytes += size

    def wants(self, prompt: np.ndarray, known: int) -> bool:
        """Returns whether keeping a prompt would help later ones: enough of it is not known yet."""
        return self.limit_bytes > 0 and len(prompt) >= SHORTEST and (len(prompt) - known) * NEWS > len(prompt)

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self.size_bytes = 0

    def _drop(self, name: bytes) -> None:
        self.size_bytes -= self._entries.pop(name)[2]


def common_length(left: np.ndarray, right: np.ndarray) -> int:
    """Returns how many leading elements two vectors share."""
    size = min(len(left), len(right))
    differ = left[:size] != right[:size]
    return int(differ.argmax()) if differ.any() else size
