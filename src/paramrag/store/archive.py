"""A whole collection as one file, to share or to keep: a tar of its directory after `compact`.

Nothing that was removed is in it. The archive appears complete or not at all, and so does the collection that is
read from one, which is verified first.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from ..errors import CollectionError
from .collection import Collection
from .journal import LOCK_NAME
from .location import LAYOUT_NAME


def export_collection(collection: Collection, archive: str | Path, *, overwrite: bool = False) -> Path:
    """Writes a collection into one tar file; no other process writes to it meanwhile.

    Raises:
        CollectionError: the file exists and `overwrite` is false, or cannot be written.
    """
    target = Path(archive).expanduser()
    if target.exists() and not overwrite:
        raise CollectionError(f"{target} exists; expected a new file, or overwrite")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    except OSError as error:
        raise CollectionError(f"cannot export to {target}: {error}") from error
    try:
        with collection.writing("export"), os.fdopen(handle, "wb") as file:
            collection.compact()
            with tarfile.open(fileobj=file, mode="w") as tar:
                # The layout file comes first, so that a reader can refuse before unpacking.
                tar.add(collection.path / LAYOUT_NAME, LAYOUT_NAME)
                for path in sorted(collection.path.glob("*.lance")):
                    tar.add(path, path.name)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        raise CollectionError(f"cannot export to {target}: {error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def import_collection(archive: str | Path, directory: str | Path) -> Collection:
    """Unpacks an archive into a new directory, verifies it and opens it.

    Raises:
        CollectionError: the archive is not one, is damaged or of a newer layout, or the directory is not empty.
    """
    source, target = Path(archive).expanduser(), Path(directory).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CollectionError(f"{target} exists and is not an empty directory; expected a new one to import into")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
    except OSError as error:
        raise CollectionError(f"cannot import into {target}: {error}") from error
    try:
        _unpack(source, temporary)
        report = Collection.open(temporary, create=False).verify()
        if not report.ok:
            problems = (*report.problems, *report.unfinished)
            raise CollectionError(f"{source} holds a damaged collection ({len(problems)} problems): {problems[0]}")
        (temporary / LOCK_NAME).unlink(missing_ok=True)
        temporary.chmod(0o755)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Collection.open(target, create=False)


def _unpack(source: Path, temporary: Path) -> None:
    try:
        with tarfile.open(source, mode="r:") as tar:
            first = tar.next()
            if first is None or first.name != LAYOUT_NAME:
                raise CollectionError(f"{source} is not an archive of a collection: {LAYOUT_NAME} does not come first")
            tar.extractall(temporary, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise CollectionError(f"{source} cannot be read as an archive of a collection: {error}") from error
