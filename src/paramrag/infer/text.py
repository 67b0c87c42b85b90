"""Token ids -> text as it grows, cut at stop strings. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TextStream:
    """Decodes one row's tokens one at a time and says what is safe to show.

    Held back: an unfinished UTF-8 character, and a tail that may become a stop string.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._ids: list[int] = []
        self._shown = 0
        self.text = ""
        """Everything decoded so far, up to a stop string."""
        self.stopped = False
        """Whether a stop string was met."""

    def push(self, token: int) -> str:
        """Takes one token; returns the text that can now be shown."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        found = [position for position in (text.find(stop) for stop in self._stop) if position >= 0]
        if found:
            self.text, self.stopped = text[: min(found)], True
            return self._show(len(self.text))
        self.text = text
        held = max(
            (size for stop in self._stop for size in range(1, len(stop)) if text.endswith(stop[:size])),
            default=0,
        )
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            held = max(held, 1)
        return self._show(len(text) - held)

    def finish(self) -> str:
        """Returns what was held back, once no more tokens come."""
        return self._show(len(self.text))

    def _show(self, end: int) -> str:
        piece, self._shown = self.text[self._shown : end], max(self._shown, end)
        return piece
