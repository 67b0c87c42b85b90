"""A least-recently-used cache bounded by bytes, for decoded adapter rows. Safe under threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

from ..errors import ConfigError


class RowCache:
    """Keeps read-only arrays until their total size passes the capacity; then the longest unused go first."""

    def __init__(self, capacity_bytes: int) -> None:
        if capacity_bytes < 0:
            raise ConfigError(f"cache size is {capacity_bytes} bytes; expected 0 (no cache) or more")
        self._capacity = capacity_bytes
        self._rows: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self.hits = self.misses = 0
        """How often a row was there, and was not."""

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        return self._size

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Hashable) -> np.ndarray | None:
        """Returns the row and marks it as just used, or None."""
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                self.misses += 1
            else:
                self.hits += 1
                self._rows.move_to_end(key)
            return row

    def put(self, key: Hashable, row: np.ndarray) -> None:
        """Keeps a row; one larger than the whole cache is not kept."""
        if row.nbytes > self._capacity:
            return
        row.flags.writeable = False
        with self._lock:
            old = self._rows.pop(key, None)
            self._size += row.nbytes - (old.nbytes if old is not None else 0)
            self._rows[key] = row
            while self._size > self._capacity:
                _, oldest = self._rows.popitem(last=False)
                self._size -= oldest.nbytes

    def drop(self, unwanted: Callable[[Hashable], bool]) -> None:
        """Forgets every row whose key is unwanted."""
        with self._lock:
            for key in [key for key in self._rows if unwanted(key)]:
                self._size -= self._rows.pop(key).nbytes
