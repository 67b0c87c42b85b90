"""Several requests for one answer, run at once: one that cannot be the surest any more is given up."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from .request import Completion, Request, Update
from .rows import Listener, Ticket
from .scheduler import Scheduler
from .surest import mean_logprob, surest


class Race:
    """Sources of one answer; `completion` or `error` is set once it is `done`.

    The answer is the one that `surest` would choose of all. A token only ever lowers the sum of log-probabilities, so
    the mean of an answer ends at most at its sum so far over the most tokens it may have; where that, less its doubt,
    is below what a finished answer has, nobody waits for the rest.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        requests: Sequence[Request],
        doubts: Sequence[float],
        listener: Listener | None = None,
    ) -> None:
        """Submits all.

        Args:
            requests: with `logprobs`; at least one.
            doubts: of each (`surest`).
            listener: hears once, of the answer or the error.

        Raises:
            MismatchError: an injection was made for another base model.
        """
        self._scheduler, self._requests, self._doubts, self._listener = scheduler, requests, doubts, listener
        self._sums = [0.0] * len(requests)
        self._finished: dict[int, Completion] = {}
        self._tickets: list[Ticket] = []
        self.completion: Completion | None = None
        self.error: BaseException | None = None
        self._lock = threading.Lock()  # another thread may answer the first before the last is submitted
        try:
            with self._lock:
                for at, request in enumerate(requests):
                    self._tickets.append(scheduler.submit(request, partial(self._hear, at)))
        except BaseException:
            self.close()
            raise

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return self.completion is not None or self.error is not None

    def close(self) -> None:
        """Gives up what is still running."""
        for ticket in self._tickets:
            if not ticket.done:
                self._scheduler.cancel(ticket)

    def _hear(self, at: int, update: Update) -> None:
        """Is called by whichever thread runs the scheduler's step."""
        with self._lock:
            if not self.done:
                self._take(at, update)

    def _take(self, at: int, update: Update) -> None:
        self._sums[at] += sum(token.logprob for token in update.logprobs)
        if update.completion:
            self._finished[at] = update.completion
        self.error = update.error
        if self.error:
            self.close()
            self._tell(Update(error=self.error))
            return
        best = max((mean_logprob(one) - self._doubts[at] for at, one in self._finished.items()), default=-math.inf)
        for number, ticket in enumerate(self._tickets):
            if not ticket.done and self._at_most(number) < best:
                self._scheduler.cancel(ticket)
        if all(ticket.done for ticket in self._tickets):
            order = sorted(self._finished)
            chosen = surest([self._finished[at] for at in order], [self._doubts[at] for at in order])
            self.completion = replace(chosen, prompt_tokens=sum(len(one.prompt_ids) for one in self._requests))
            self._tell(Update(chosen.text, chosen.logprobs, self.completion))

    def _at_most(self, number: int) -> float:
        return self._sums[number] / self._requests[number].max_new_tokens - self._doubts[number]

    def _tell(self, update: Update) -> None:
        if self._listener:
            self._listener(update)
