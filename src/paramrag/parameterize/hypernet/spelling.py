"""The tokens with which an answer may go on, for every token of a passage.

Models with byte-pair vocabularies write a word in one way inside a text and in another where an answer begins: there is
no space before it then, and of SmolLM2's answers to invented passages 85 in a hundred begin with a token that the
passage does not hold. So whoever copies from a passage must know both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SPACES = ("Ġ", "▁")
"""How byte-level and sentencepiece vocabularies write a space at the start of a piece."""
NOTHING = -1
"""In place of the token before, where there is none."""


@dataclass(slots=True)
class Choices:
    """Tokens that an answer may have, and where in the passage each stands."""

    at: list[int] = field(default_factory=list)
    """Positions in the passage."""
    tokens: list[int] = field(default_factory=list)
    """What would be written."""
    before: list[int] = field(default_factory=list)
    """The token before, in an answer; NOTHING where the token begins it."""

    def add(self, at: int, token: int, before: int = NOTHING) -> None:
        """Adds one."""
        self.at.append(at)
        self.tokens.append(token)
        self.before.append(before)


class Spelling:
    """Of one vocabulary."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._words: dict[tuple[int, ...], list[int]] = {}
        self._pieces: dict[int, str] = {}

    def choices(self, ids: Sequence[int]) -> tuple[Choices, Choices]:
        """Returns the tokens that may begin an answer, one a word, and those that may follow another."""
        first, following = Choices(), Choices()
        pieces = [self._piece(token) for token in ids]
        starts = [at for at in range(len(ids)) if self._begins(pieces, at)]
        for at in range(1, len(ids)):
            following.add(at, ids[at], ids[at - 1])
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            word = self._alone(tuple(ids[start:end]))
            if not word:
                continue
            first.add(start, word[0])
            if word == list(ids[start:end]):
                continue
            for number in range(1, len(word)):
                following.add(min(start + number, end - 1), word[number], word[number - 1])
            if end < len(ids) and word[-1] != ids[end - 1]:
                following.add(end, ids[end], word[-1])
        return first, following

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self._tokenizer.convert_ids_to_tokens(token) or ""
        return self._pieces[token]

    def _begins(self, pieces: Sequence[str], at: int) -> bool:
        """Returns whether a word begins there; not after a line's end, whose piece `Ċ` is a letter to Python.

        Changing that needs a new training: the shipped hypernetwork knew 32.4 instead of 38.2 with lines' first words.
        """
        if not at or pieces[at].startswith(SPACES):
            return True
        return pieces[at][:1].isalnum() and not pieces[at - 1][-1:].isalnum()

    def _alone(self, word: tuple[int, ...]) -> list[int]:
        """Returns a word's tokens as they are with nothing before them; none if it has neither letter nor digit."""
        if word not in self._words:
            text = self._tokenizer.decode(list(word)).strip()
            said = any(letter.isalnum() for letter in text)
            self._words[word] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if said else []
        return self._words[word]
