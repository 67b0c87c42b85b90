"""One writer at a time, and a mark that a write is under way.

Lance commits one table at a time, and a document touches several. The order of the commits makes that safe:

- Adding writes passages first and the document last; removing deletes the document first and all else after. Readers
  go by the documents table (see `catalog`), so each document appears or vanishes in one commit, and a process killed
  at any point leaves at worst rows that no document refers to.
- Before the first commit of such a write the mark `unfinished.json` is written, after the last one it is deleted. A
  writer that finds the mark sweeps those rows away before it does its own work; it holds the lock, so nobody else is
  writing. The interrupted command is then simply repeated: what was finished is a no-op.
- Training items, adapters and vectors are one table each: a single commit, no mark.

Writers hold the file lock per batch, not per command, so two of them take turns. Readers take no lock. What counts
as safe is the death of a process; against power loss the file system has to keep the order of writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import CollectionError

LOCK_NAME = ".lock"
MARK_NAME = "unfinished.json"


class Journal:
    """The lock and the mark of one collection directory."""

    def __init__(self, directory: Path, timeout_s: float, repair: Callable[[], Any]) -> None:
        self._directory = directory
        self._mark = directory / MARK_NAME
        self._lock = FileLock(str(directory / LOCK_NAME))
        self._timeout_s = timeout_s
        self._repair = repair

    @property
    def unfinished(self) -> str | None:
        """Which operation was interrupted, or is under way in another process; None if none."""
        try:
            return str(json.loads(self._mark.read_text(encoding="utf-8"))["operation"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # killed while the mark was being written
            return "a write"

    @property
    def busy(self) -> bool:
        """Whether a writer holds the lock now."""
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a read-only directory has no writer
            return False

    @contextmanager
    def writing(self, operation: str) -> Iterator[None]:
        """Holds the lock, after repairing what an interrupted write left.

        Raises:
            CollectionError: another process has been writing for longer than the timeout, or the directory cannot
                be written.
        """
        try:
            self._lock.acquire(timeout=self._timeout_s)
        except Timeout as error:
            raise CollectionError(
                f"cannot {operation}: {self._directory} is locked; another process has been writing for "
                f"{self._timeout_s:g} s; expected it to finish a batch in that time; wait for it or stop it, and repeat"
            ) from error
        except OSError as error:
            raise CollectionError(
                f"cannot {operation}: {self._directory} cannot be written ({error}); check its permissions"
            ) from error
        try:
            if self._mark.exists():
                self._repair()
                self._mark.unlink()
            yield
        finally:
            self._lock.release()

    @contextmanager
    def marked(self, operation: str) -> Iterator[None]:
        """Marks several commits as one write, under the lock. An exception inside leaves the mark, as a kill would."""
        self._mark.write_text(json.dumps({"operation": operation, "pid": os.getpid()}), encoding="utf-8")
        yield
        self._mark.unlink()
