"""The folder of things made once and kept: converted models and remembered hashes.

It is `$PARAMRAG_CACHE`, or `~/.cache/paramrag`. Deleting it costs time, never data. Whatever appears in it appears
whole: built in a scratch folder beside its place, then renamed, under a lock that other processes wait for.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from ..errors import ModelError
from ..types import content_hash

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Returns the cache folder; it need not exist."""
    chosen = os.environ.get("PARAMRAG_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "paramrag"


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Makes the folder `target` with `build(scratch folder)` unless it exists, and returns it.

    Of several processes that ask at once, one builds and the others wait. If `build` fails or is killed, `target`
    does not exist; the remains of a killed build are removed by the next one.

    Raises:
        ModelError: the cache folder cannot be written.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.parent / f"{target.name}.lock")
        lock.acquire()
    except OSError as error:
        raise ModelError(
            f"cannot write the model cache {target.parent}: {error}; make it writable or set PARAMRAG_CACHE"
        ) from error
    try:
        if target.is_dir():
            return target
        for remains in target.parent.glob(f"{target.name}.*.part"):
            shutil.rmtree(remains)
        scratch = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".part", dir=target.parent))
        try:
            build(scratch)
            _settle(scratch)
            scratch.rename(target)
        except OSError as error:
            raise ModelError(f"cannot build {target}: {error}; the cache folder is set by PARAMRAG_CACHE") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        lock.release()
    return target


def require_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raises ModelError where the disk of `folder` has less than `needed_bytes` left."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise ModelError(
            f"{purpose} needs {needed_bytes / 1e9:.1f} GB in {folder}, where {free_bytes / 1e9:.1f} GB are free; "
            "free some space or set PARAMRAG_CACHE to a folder on another disk"
        )


def file_stamp(path: Path) -> str:
    """Returns name, size and modification time: what changes when a file is replaced."""
    status = path.stat()
    return f"{path.name}/{status.st_size}/{status.st_mtime_ns}"


def remembered(subject: Path, stamp: str, compute: Callable[[], str]) -> str:
    """Returns `compute()`, or what it returned last time for the file or folder `subject` under the same stamp.

    Where the cache cannot be written, it is computed each time, and a warning logged.
    """
    memory = cache_folder() / "hashes" / f"{content_hash(str(subject.resolve()))}.json"
    try:
        known = json.loads(memory.read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        known = {}
    if known.get("stamp") == stamp:
        return str(known["value"])
    value = compute()
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=memory.parent, suffix=".part")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"subject": str(subject.resolve()), "stamp": stamp, "value": value}, file)
        os.replace(scratch, memory)
    except OSError as error:
        _log.warning("%s is hashed again at each load, since the cache cannot be written: %s", subject, error)
    return value


def _settle(folder: Path) -> None:
    """Makes the folder readable as its parent is, and forces its files to disk before it gets its name.

    Scratch folders and safetensors files are born private, which a cache shared between users cannot be; and a rename
    that survives a power cut must not name half-written files.
    """
    mode = folder.parent.stat().st_mode
    folder.chmod(mode & 0o777)
    for path in folder.rglob("*"):
        path.chmod(mode & (0o777 if path.is_dir() else 0o666))
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
