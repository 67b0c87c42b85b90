"""Every error a user can cause, in one family.

A message says what failed, what was found, what was expected and what to do. Each class is also the closest
standard exception, so that callers who know nothing of ParamRAG can still catch it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ParamRAGError(Exception):
    """Base of all errors raised on purpose by ParamRAG."""


class ConfigError(ParamRAGError, ValueError):
    """A recipe, setting or argument that cannot be used."""


class ModelError(ParamRAGError, ValueError):
    """A base model that cannot be found, read or adapted."""


class CorpusError(ParamRAGError, ValueError):
    """A document or corpus file that cannot be read as what it claims to be."""


class CollectionError(ParamRAGError, RuntimeError):
    """A collection on disk that is missing, of a newer layout, locked or damaged."""


class NotFoundError(ParamRAGError, KeyError):
    """A passage, document, adapter or recipe that the collection does not hold."""

    def __str__(self) -> str:  # KeyError would show the repr, quotes and all
        return str(self.args[0]) if self.args else ""


class MismatchError(ParamRAGError, ValueError):
    """An adapter, item or checkpoint that belongs to another base model or recipe."""


class AugmentError(ParamRAGError, RuntimeError):
    """Training items could not be made for a passage."""


class TrainingError(ParamRAGError, RuntimeError):
    """An adapter could not be trained, for example because its loss is not finite."""


class EvaluationError(ParamRAGError, ValueError):
    """A data set or run that cannot be evaluated or compared."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `expected one of ...; did you mean 'x'?` for the end of an error message."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"expected one of {', '.join(options)}{hint}"
