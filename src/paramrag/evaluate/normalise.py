"""Text -> the form in which answers are compared.

The normalisation is that of the SQuAD v1.1 script (Rajpurkar et al. 2016, arXiv 1606.05250): lower case, drop ASCII
punctuation, drop articles, squeeze white space, in this order. Before it, typographic marks are read as their ASCII
twins and the text is composed (NFC), so that a curly quote or a decomposed accent is no wrong answer; on text that
has neither, the result is the script's.
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import NamedTuple

_TWINS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        # An em dash or an ellipsis stands between words, so it must not glue them together.
        **dict.fromkeys("\u2014\u2015\u2026", " "),
    }
)
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(a|an|the)\b")


class Pair(NamedTuple):
    """A prediction and a gold answer in the same form."""

    prediction: str
    """Normalised prediction, tokens apart by one space."""
    gold: str
    """Normalised gold answer; empty only if the gold answer is blank."""
    whole: bool
    """The gold answer is made of articles or punctuation alone: it may only be compared as a whole, since such a
    word stands in nearly every sentence."""


def fold(text: str) -> str:
    """Returns the text composed (NFC), with typographic quotes and dashes as ASCII ones."""
    return unicodedata.normalize("NFC", text).translate(_TWINS)


def normalise(text: str) -> str:
    """Returns the comparable form: tokens apart by one space, empty if nothing is left."""
    return _squeeze(_ARTICLE.sub(" ", _bare(text)))


def align(prediction: str, gold: str) -> Pair:
    """Normalises both sides, keeping more of the text where nothing of the gold answer would be left ("The", "!!!")."""
    full = normalise(gold)
    if full:
        return Pair(normalise(prediction), full, whole=False)
    bare = _squeeze(_bare(gold))
    if bare:
        return Pair(_squeeze(_bare(prediction)), bare, whole=True)
    return Pair(_squeeze(fold(prediction).lower()), _squeeze(fold(gold).lower()), whole=True)


def has_tokens(text: str, tokens: str) -> bool:
    """Returns whether `tokens` stand in `text` one after the other; both normalised."""
    return f" {tokens} " in f" {text} "


def _bare(text: str) -> str:
    return fold(text).lower().translate(_PUNCTUATION)


def _squeeze(text: str) -> str:
    return " ".join(text.split())
