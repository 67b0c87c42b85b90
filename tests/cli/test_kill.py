"""Encoding, killed in the middle and run again, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from paramrag.store import Collection
from paramrag.types import Passage

from .conftest import Run

PASSAGES = 120


def test_encode_killed_in_the_middle_goes_on_where_it_was(
    run: Run, files: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    directory = tmp_path / "c"
    names = ("Arn Hult", "Teska Varn", "Ilse Dorn", "Bram Okke")
    Collection.open(directory).add(
        [
            Passage(
                f"The lamp of Quay {n} was lit by {names[n % 4]} in {1800 + n}. Quay {n} is {n + 9} metres long.",
                f"Quay {n}",
            )
            for n in range(PASSAGES)
        ]
    )
    command = [sys.executable, "-m", "paramrag", "encode", str(directory)]
    command += ["--model", str(tiny_model_folder), "--recipe", str(files / "small.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def adapters() -> int:
        return sum(record.adapters for record in Collection.open(directory, create=False).recipes())

    deadline = time.monotonic() + 120
    while adapters() < PASSAGES // 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = adapters()
    assert 0 < kept < PASSAGES, "it was killed too early or too late to tell anything"
    resumed = run(*command[3:], "--json").json
    assert (resumed["present"], resumed["encoded"], resumed["failed"]) == (kept, PASSAGES - kept, [])
    verified = run("collection", "verify", directory, "--json").json
    assert (verified["ok"], verified["adapters"], verified["passages"]) == (True, PASSAGES, PASSAGES)
