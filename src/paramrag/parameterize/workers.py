"""Works on batches in processes of their own, one thread each: trains adapters, reads examples.

On CPU the products of a training step are too small to share between threads: one process a core trains half as much
again as one process with all cores (docs/log.md). A worker runs `serve`: it loads the model, reads batches from its
input and writes to its output how each goes on, as numbers, and then its result; it ends when either is closed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import IO, Any, Generic, Protocol, TypeVar

import torch

from ..errors import TrainingError
from ..models import BaseModel
from .trainer import Told

Batch = TypeVar("Batch")
Given = TypeVar("Given", contravariant=True)
Result = TypeVar("Result")
Made = TypeVar("Made", covariant=True)


class Work(Protocol[Given, Made]):
    """What is done with a batch; can be pickled."""

    def __call__(self, base: BaseModel, batch: Given, /, *, told: Told) -> Made:
        """Returns the result; `told` hears how it goes on, in numbers."""
        ...


class Workers(Generic[Batch, Result]):
    """A fixed number of processes for one model and one kind of work; a context manager."""

    def __init__(self, base: BaseModel, work: Work[Batch, Result], count: int, told: Told | None = None) -> None:
        """Starts the processes; they load the model while the first batches are prepared.

        Args:
            work: what they do.
            count: processes.
            told: hears how the work goes on, from several threads.
        """
        self._told = told
        dtype = str(base.dtype).removeprefix("torch.")
        self._job = (base.name, dtype, base.fingerprint, work)
        self._idle = [self._start() for _ in range(count)]
        self._all = tuple(self._idle)
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Workers[Batch, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:  # what is not done yet is not wanted any more
            process.kill()
        self._threads.shutdown()
        for process in self._all:
            process.communicate()

    def map(self, batches: Iterable[Batch]) -> Iterator[Result]:
        """Yields the results of each batch, as they are done; a batch is taken when a worker is free for it.

        Raises:
            TrainingError: a worker ended before its batch was done.
        """
        running: set[Future[Result]] = set()
        for batch in batches:
            running.add(self._threads.submit(self._do, batch))
            if len(running) == len(self._all):
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the program that started it, which then ends it
        )
        _write(process.stdin, (os.getpid(), *self._job))
        return process

    def _do(self, batch: Batch) -> Result:
        process = self._idle.pop()
        try:
            _write(process.stdin, batch)
            while isinstance(result := _read(process.stdout), float):
                if self._told:
                    self._told(result)
        except (EOFError, BrokenPipeError) as error:
            raise TrainingError(
                f"a working process ended with exit code {process.wait()} before its batch was done, perhaps for want "
                "of memory; what was finished is stored: run again, with fewer workers"
            ) from error
        self._idle.append(process)
        if isinstance(result, Exception):
            raise result
        done: Result = result
        return done


def worked(
    base: BaseModel, work: Work[Batch, Result], batches: Iterable[Batch], count: int, told: Told
) -> Generator[Result]:
    """Yields the result of each batch as it is done: in this process, in order, or in `count` others, in none."""
    if count == 1:
        for batch in batches:
            yield work(base, batch, told=told)
        return
    with Workers(base, work, count, told) as pool:
        yield from pool.map(batches)


def worker_count(base: BaseModel, wanted: int | None, most: int) -> int:
    """Returns how many processes work on a model: those wanted, or one a thread of torch as memory allows, `most` at
    most; 1, which is none but this one, where a process could not load the model or the device would be shared.
    """
    if not base.reloadable or base.device.type != "cpu":
        return 1
    return max(1, min(wanted or min(torch.get_num_threads(), _fitting(base)), most))


def _fitting(base: BaseModel) -> int:
    """Returns how many more copies of the model half of the machine's memory holds."""
    size = sum(parameter.numel() * parameter.element_size() for parameter in base.model.parameters())
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 // size)


def _write(stream: IO[bytes] | None, value: Any) -> None:
    assert stream is not None
    pickle.dump(value, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


def _read(stream: IO[bytes] | None) -> Any:
    assert stream is not None
    return pickle.load(stream)  # both ends are this program


def _leave_with(parent: int) -> None:
    """Ends this process soon after the one that started it, however that ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def serve() -> None:
    """Is a worker: works on what comes in until nothing more does."""
    # Results go to the standard output that was there at the start; whatever prints goes to the error output.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    from ..models import load_base

    parent, name, dtype, fingerprint, work = _read(sys.stdin.buffer)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    base = load_base(name, dtype=dtype)
    while True:
        try:
            batch = _read(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if base.fingerprint != fingerprint:
                raise TrainingError(f"model {name!r} changed while it was used; run again")
            result = work(base, batch, told=partial(_write, output))
        except Exception as error:  # noqa: BLE001  raised again where the batch came from
            result = error
        _write(output, result)
