"""Where the tokens of a packed pass belong: one token of each row in front, then prompt chunks of some rows.

A pass runs over all tokens as one sequence without padding. Its first tokens are one per row, token n of row n: the
next of a row that answers, or one that means nothing where the row is still being read.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spans:
    """The rows of a packed sequence of tokens."""

    front: int
    """Rows; each has one token, in their order, at the beginning."""
    chunks: tuple[tuple[int, slice, int], ...]
    """Then, for some rows: the row, its tokens, and the row's length after them."""
    end: int
    """Length of the longest row after the pass."""
    full: frozenset[int] = frozenset()
    """Rows whose injection is also on while their chunk is read."""
