"""The thread that runs the engine, and the way from asyncio into it and back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncGenerator, Iterator

from ..infer import Request, Scheduler, Update
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

    async def updates(self, request: Request) -> AsyncGenerator[Update, None]:
        """Yields what becomes of a request; leaving early gives it up.

        Raises:
            Problem: 504, it took longer than the server allows.
        """
        loop = asyncio.get_running_loop()
        news: asyncio.Queue[Update] = asyncio.Queue()

        def tell(update: Update) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever would listen
                loop.call_soon_threadsafe(news.put_nowait, update)

        end = loop.time() + self._timeout_s
        ticket = self._scheduler.submit(request, tell)
        try:
            while True:
                try:
                    update = await asyncio.wait_for(news.get(), end - loop.time())
                except TimeoutError:
                    raise Problem(504, f"no answer within {self._timeout_s:g} s", code="timeout") from None
                if update.error:
                    raise update.error
                yield update
                if update.completion:
                    return
        finally:
            if not ticket.done:
                self._scheduler.cancel(ticket)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._scheduler.step():
                    self._scheduler.wait(0.2)
            except Exception:  # the requests that were running have it; the next ones must be answered
                logger.exception("a step of the engine failed")
