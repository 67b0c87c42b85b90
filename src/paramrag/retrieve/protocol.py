"""What a retriever is: one call. Any function of that shape is one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..errors import ConfigError
from ..types import Hit


@runtime_checkable
class Retriever(Protocol):
    """Finds passages for a query."""

    def __call__(self, query: str, k: int) -> list[Hit]:
        """Returns at most k hits, best first; none where nothing fits. A negative k is a `ConfigError`."""
        ...


def check_k(k: int) -> None:
    """Refuses a negative number of hits."""
    if k < 0:
        raise ConfigError(f"asked for {k} hits; expected 0 or more")
