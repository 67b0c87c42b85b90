"""A process to be killed: `python victim.py DIR VERB COUNT [COMMIT]` writes and says what is done, line by line.

With COMMIT it kills itself at that table commit: an even number before it, an odd one after it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from paramrag.store.collection import Collection
from paramrag.store.tables import Tables
from paramrag.types import Document
from store.factory import BASE, LAYOUT, RECIPE, adapter, document

STEP = 4


def numbered(number: int, version: str) -> Document:
    """Three passages: one of its own, one of its neighbours too, one that changes with the version."""
    return document(f"d{number:03}", f"solo {number}", f"near {number // 3}", f"{version} {number}", title="T")


def die_at(commit: int) -> None:
    """Makes the process kill itself before (even) or after (odd) its (commit // 2)-th change of a table."""
    seen = 0
    for name in ("append", "upsert", "delete"):
        method = getattr(Tables, name)

        def changed(self, *arguments, method=method):
            nonlocal seen
            seen, number = seen + 1, seen
            if commit == 2 * number:
                os.kill(os.getpid(), signal.SIGKILL)
            result = method(self, *arguments)
            if commit == 2 * number + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(Tables, name, changed)


def main(directory: str, verb: str, count: int) -> None:
    """Does the work in small steps, each said when it has been acknowledged."""
    collection = Collection.open(directory)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for first in range(0, count, STEP):
        numbers = range(first, min(first + STEP, count))
        if verb in ("add", "change"):
            collection.add([numbered(number, "old" if verb == "add" else "new") for number in numbers])
        elif verb == "remove":
            collection.remove([f"d{number:03}" for number in numbers])
        elif verb == "put":
            collection.put_recipe(RECIPE, BASE, LAYOUT)
            ids = [passage.id for number in numbers for passage in numbered(number, "old").passages]
            collection.put_adapters([adapter(passage_id) for passage_id in ids])
        for number in numbers:
            sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        die_at(int(sys.argv[4]))
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
