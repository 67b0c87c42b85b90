"""Continuous batching: requests join and leave between steps, each row with its own injection and sampling.

A step is one pass over the model. It generates a token for every row that is answering, and reads prompts as far as
`chunk_tokens` go; a row whose prompt is read to the end gets its first token in the same pass. So a long prompt delays
the others by a chunk, not by its length, and a short one that comes later overtakes it.

There is no thread of its own: whoever waits for an answer calls `step`, which advances everybody's rows. A server
keeps one thread that does nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..models import BaseModel
from .injection import FactorRows, check_fits
from .keys import KeyValues
from .passes import Passes
from .prefixes import SHORTEST, PrefixCache
from .request import Request
from .rows import Listener, Row, Ticket

KEPT_BYTES = 512 << 20
"""Keys and values of an idle scheduler beyond this are given back."""


@dataclass(frozen=True, slots=True)
class SchedulerStats:
    """What a scheduler is doing, and has done since it was made."""

    waiting: int
    """Requests not begun."""
    reading: int
    """Rows whose prompt is being read."""
    decoding: int
    """Rows that are answering."""
    steps: int
    """Steps in which some row answered."""
    decoded_rows: int
    """Rows that answered in all steps: over `steps`, the mean batch size."""
    prompt_tokens: int
    """Tokens in the prompts that were read."""
    reused_tokens: int
    """How many of them did not have to be read."""
    generated_tokens: int
    """Tokens generated."""
    prefixes: int
    """Prompts in the prefix cache."""
    prefix_bytes: int
    """Memory of the prefix cache."""


class Scheduler:
    """Rows of one base model. All methods may be called from any thread."""

    def __init__(
        self,
        base: BaseModel,
        stop_ids: frozenset[int],
        *,
        max_batch: int = 16,
        chunk_tokens: int = 256,
        prefix_cache_bytes: int = 0,
    ) -> None:
        """Makes an empty batch.

        Args:
            stop_ids: tokens that end an answer.
            max_batch: most rows at once.
            chunk_tokens: most prompt tokens read in one step.
            prefix_cache_bytes: memory for keys and values of prompts that were read; 0 keeps none.

        Raises:
            ModelError: the model has layers that attend in another way than to all or a window of the tokens before.
        """
        self.max_batch, self.chunk_tokens = max_batch, chunk_tokens
        self._base, self._stop_ids = base, stop_ids
        self._passes = Passes(base)
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self._lock = threading.RLock()
        self._news = threading.Event()
        self._queue: deque[Row] = deque()
        self._rows: list[Row] = []  # row n of the cache and of the factors
        self._cache = KeyValues(0, 0)
        self._factors = FactorRows(base)
        self._turn = 0
        self._steps = self._decoded_rows = self._prompt_tokens = self._reused_tokens = self._generated_tokens = 0

    def submit(self, request: Request, listener: Listener | None = None) -> Ticket:
        """Queues a request.

        Raises:
            MismatchError: its injection was made for another base model.
        """
        if request.injection is not None:
            check_fits(request.injection, self._base)
        ticket = Ticket(request, listener)
        self._queue.append(Row(ticket, self._base))
        self._news.set()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Gives a request up; its row is taken out before the next token is computed. Its listener hears no more."""
        ticket.cancelled = True
        self._news.set()

    def wait(self, timeout_s: float) -> None:
        """Blocks until something was submitted or cancelled since the last step, or the time is over."""
        self._news.wait(timeout_s)

    def step(self) -> bool:
        """Reads a chunk of prompts and generates one token for each answering row; returns whether there is more.

        An exception of the model fails all rows that were running, through their tickets, and is raised.
        """
        with self._lock, torch.inference_mode():
            self._news.clear()
            try:
                self._drop_cancelled()
                reads = self._next_reads()
                if self._rows:
                    self._answer(*self._pass(reads))
            except BaseException as error:
                self._fail(error)
                raise
            if not self._rows and self._cache.size_bytes > KEPT_BYTES:
                self._cache = KeyValues(0, 0)
            return bool(self._rows or self._queue)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps the steps of other threads out, for forward passes of one's own on the same model; requests wait."""
        with self._lock:
            yield

    def stats(self) -> SchedulerStats:
        """Returns counts; a running step may still change them."""
        reading = sum(row.token is None for row in list(self._rows))
        return SchedulerStats(
            waiting=len(self._queue),
            reading=reading,
            decoding=len(self._rows) - reading,
            steps=self._steps,
            decoded_rows=self._decoded_rows,
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self._reused_tokens,
            generated_tokens=self._generated_tokens,
            prefixes=len(self._prefixes),
            prefix_bytes=self._prefixes.size_bytes,
        )

    def forget_prefixes(self) -> None:
        """Empties the prefix cache, for example because a document's text must not stay in memory."""
        with self._lock:
            self._prefixes.clear()

    # The parts of a step

    def _drop_cancelled(self) -> None:
        for row in [row for row in self._rows if row.ticket.cancelled]:
            self._leave(row)
        for row in [row for row in list(self._queue) if row.ticket.cancelled]:
            self._queue.remove(row)

    def _next_reads(self) -> dict[Row, int]:
        """Returns how many prompt tokens are read of each row, by turns of the oldest and of those with the least
        left; rows that are not mentioned wait. Rows enter the batch when it is their turn."""
        rows = [row for row in self._rows if row.token is None] + list(self._queue)
        self._turn += 1
        if self._turn % 2:
            rows.sort(key=lambda row: row.submitted)
        else:
            rows.sort(key=lambda row: row.unread)
        budget = self.chunk_tokens
        reads: dict[Row, int] = {}
        for row in rows:
            if row.slot < 0 and (budget == 0 or len(self._rows) == self.max_batch):
                continue
            if row.slot < 0:
                self._enter(row)
            self._catch_up(row)
            # what an earlier one reads now is there in the next step
            if any(row.shared(other) >= row.length + SHORTEST for other in reads):
                continue
            count = min(row.unread, budget)
            if count or row.unread == 0:
                reads[row] = count
                budget -= count
        return reads

    def _enter(self, row: Row) -> None:
        """Gives a waiting request a row, and what is known of its prompt."""
        self._queue.remove(row)
        row.slot, row.begun = len(self._rows), time.perf_counter()
        self._rows.append(row)
        self._factors.join(row.request.injection)
        self._cache.reserve(len(self._rows), len(row.prompt) + 1)
        if not row.full:
            row.length, segment = self._prefixes.find(row.prompt)
            row.reused = row.length
            self._cache.put(row.slot, segment, row.length)

    def _catch_up(self, row: Row) -> None:
        """Copies what another row of the batch has read of the same beginning."""
        known, source = max(
            ((min(row.shared(other), other.length), other.slot) for other in self._rows if other is not row),
            default=(0, 0),
        )
        if known >= row.length + SHORTEST:
            self._cache.copy(source, row.slot, row.length, known)
            row.reused += known - row.length
            row.length = known

    def _pass(self, reads: dict[Row, int]) -> tuple[list[Row], torch.Tensor]:
        """Runs the model; returns the rows that get a token, and the states [N, D] that it is made from."""
        answering = [row for row in self._rows if row.token is not None or reads.get(row) == row.unread]
        states_ND = self._passes.run(
            self._cache,
            front=[row.request.prompt_ids[-1] if row.token is None else row.token for row in self._rows],
            chunks=[
                (row.slot, row.request.prompt_ids[row.length : row.length + count])
                for row, count in reads.items()
                if count
            ],
            lengths=[row.length for row in self._rows],
            factors=self._factors.factors(),
            full=frozenset(row.slot for row in reads if row.full),
        )
        for row, count in reads.items():
            row.length += count
        for row in answering:
            if row.token is None:
                self._keep(row)
            row.length += 1
        return answering, states_ND[[row.slot for row in answering]]

    def _keep(self, row: Row) -> None:
        """Keeps a prompt that was read for those that begin alike."""
        self._prompt_tokens += len(row.request.prompt_ids)
        self._reused_tokens += row.reused
        if not row.full and self._prefixes.wants(row.prompt, self._prefixes.find(row.prompt)[0]):
            self._prefixes.keep(row.prompt, self._cache.take(row.slot, row.length))

    def _answer(self, rows: list[Row], states_ND: torch.Tensor) -> None:
        """Gives each row its next token; those that have said all leave."""
        if not rows:
            return
        logits_NV = self._passes.head(states_ND)
        self._steps += 1
        self._decoded_rows += len(rows)
        for row, logits_V, likeliest in zip(rows, logits_NV, logits_NV.argmax(-1).tolist(), strict=True):
            said = row.said
            goes_on = row.answer(logits_V, likeliest, self._stop_ids)
            self._generated_tokens += row.said - said
            if not goes_on:
                self._leave(row)

    def _leave(self, row: Row) -> None:
        """Frees a row; the last one takes its place."""
        last = self._rows.pop()
        if last is not row:
            self._rows[row.slot] = last
            self._cache.copy(last.slot, row.slot, 0, last.length)
            last.slot = row.slot
        self._factors.leave(row.slot)

    def _fail(self, error: BaseException) -> None:
        running, self._rows = self._rows, []
        self._cache, self._factors = KeyValues(0, 0), FactorRows(self._base)
        for row in running:
            row.ticket.fail(error)
