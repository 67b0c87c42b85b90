"""The thread that runs the engine, and the way from asyncio into it and back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence

from ..infer import Completion, Race, Request, Scheduler, Ticket, Update
from .problems import Problem

logger = logging.getLogger(__name__)


class Driver:
    """Steps a scheduler as long as there is work; a bounded number of requests may be under way."""

    def __init__(self, scheduler: Scheduler, *, limit: int, timeout_s: float) -> None:
        self._scheduler, self._limit, self._timeout_s = scheduler, limit, timeout_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="paramrag-engine", daemon=True)
        self._mean_s = 1.0
        self.in_flight = 0
        """Requests taken and not finished."""

    def start(self) -> None:
        """Begins to step."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the step it is in."""
        self._stopping.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether requests will be answered."""
        return self._thread.is_alive() and not self._stopping.is_set()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Takes one of the places; call it in the event loop's thread.

        Raises:
            Problem: 429, all are taken.
        """
        if self.in_flight >= self._limit:
            rows = self._scheduler.max_batch
            seconds = max(1, round(self._mean_s * (1 + self.in_flight / rows)))
            raise Problem(
                429,
                f"{self.in_flight} requests are under way, the most this server takes; try again in {seconds} s",
                code="overloaded",
                headers={"Retry-After": str(seconds)},
            )
        self.in_flight += 1
        started = time.perf_counter()
        try:
            yield
        finally:
            self.in_flight -= 1
            self._mean_s += 0.1 * (time.perf_counter() - started - self._mean_s)

    def run(self, requests: Sequence[Request], doubts: Sequence[float] = ()) -> Running:
        """Hands the requests of one answer to the engine; call it in the event loop's thread."""
        return Running(self._scheduler, requests, doubts, self._timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._scheduler.step():
                    self._scheduler.wait(0.2)
            except Exception:  # the requests that were running have it; the next ones must be answered
                logger.exception("a step of the engine failed")


class Running:
    """An answer in the making, as the event loop sees it. Close it when it is done with, answered or not.

    Where it is chosen among several completions, it comes at once, when it is clear which.
    """

    def __init__(
        self, scheduler: Scheduler, requests: Sequence[Request], doubts: Sequence[float], timeout_s: float
    ) -> None:
        self._scheduler, self._timeout_s = scheduler, timeout_s
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + timeout_s
        self._news: asyncio.Queue[Update] = asyncio.Queue()
        self._race: Race | None = None
        self._ticket: Ticket | None = None
        if len(requests) > 1:
            self._race = Race(scheduler, requests, doubts, self._tell)
        else:
            self._ticket = scheduler.submit(requests[0], self._tell)

    async def next(self) -> Update:
        """Returns what is new; after the update that has the completion, nothing comes.

        Raises:
            Problem: 504, it took longer than the server allows.
        """
        try:
            update = await asyncio.wait_for(self._news.get(), self._end - self._loop.time())
        except TimeoutError:
            raise Problem(504, f"no answer within {self._timeout_s:g} s", code="timeout") from None
        if update.error:
            raise update.error
        return update

    async def completion(self) -> Completion:
        """Returns the whole answer."""
        while True:
            if (update := await self.next()).completion:
                return update.completion

    def close(self) -> None:
        """Gives the request up if it is not answered. Does not wait, so that it can run while a task is cancelled."""
        if self._race:
            self._race.close()
        if self._ticket and not self._ticket.done:
            self._scheduler.cancel(self._ticket)

    def _tell(self, update: Update) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever would listen
            self._loop.call_soon_threadsafe(self._news.put_nowait, update)
