"""Continuous batching: requests join and leave between decode steps, each row with its own injection and sampling.

A step reads a chunk of one group of waiting prompts, then generates one token for every row that is answering. So a
long prompt delays the others by a chunk, not by its length, and a short one that comes later overtakes it.

There is no thread of its own: whoever waits for an answer calls `step`, which advances everybody's rows. A server
keeps one thread that does nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from ..models import BaseModel
from .injection import FactorRows, check_fits, injected, stack
from .keys import KeyValues, Masks, Segment, forward
from .prefill import common_prefix
from .prefixes import PrefixCache
from .request import Completion, FinishReason, Request, TokenLogprob, Update
from .sampling import logprobs, next_token
from .text import TextStream

Listener = Callable[[Update], None]
"""Hears of a request; called by whichever thread runs the step, so it must not block."""

KEPT_BYTES = 512 << 20
"""Keys and values of an idle scheduler beyond this are given back."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A request on its way; `completion` or `error` is set once `done`."""

    request: Request
    """As submitted."""
    listener: Listener | None = None
    """Hears every update."""
    completion: Completion | None = None
    """The answer."""
    error: BaseException | None = None
    """Why there is none."""
    cancelled: bool = False
    """Whether its caller gave it up; its row is free from the next step on."""

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return self.cancelled or self.completion is not None or self.error is not None


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
    """Decode steps."""
    decoded_rows: int
    """Rows in all decode steps: over `steps`, the mean batch size."""
    prompt_tokens: int
    """Tokens in the prompts of begun requests."""
    reused_tokens: int
    """How many of them did not have to be read."""
    generated_tokens: int
    """Tokens generated."""
    prefixes: int
    """Prompts in the prefix cache."""
    prefix_bytes: int
    """Memory of the prefix cache."""


@dataclass(slots=True, eq=False)
class _Row:
    """One request in the batch."""

    ticket: Ticket
    stream: TextStream
    generator: torch.Generator | None
    submitted: float
    begun: float = 0.0
    first: float = 0.0
    length: int = 0  # tokens in the cache
    reused: int = 0
    token: int = 0  # the next to feed
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def request(self) -> Request:
        return self.ticket.request

    @property
    def unread(self) -> int:
        return len(self.request.prompt_ids) - 1 - self.length


class _Group:
    """Prompts of similar length that are read together; what all begin with is read once."""

    def __init__(self, rows: list[_Row], base: BaseModel) -> None:
        self.full = rows[0].request.full
        self.rows = sorted(rows, key=lambda row: -row.length)  # the first knows most of what is shared
        self.cache = KeyValues(len(rows), max(len(row.request.prompt_ids) for row in rows))
        shared = common_prefix([list(row.request.prompt_ids[:-1]) for row in rows])
        self.shared = 0 if self.full or len(rows) == 1 else shared
        self.factors = stack([row.request.injection for row in self.rows], base) if self.full else None

    @property
    def left(self) -> int:
        """Tokens that the longest row still has to read."""
        return max(row.unread for row in self.rows)

    def next_tokens(self, budget: int) -> tuple[list[_Row], list[list[int]]]:
        """Returns the rows of the next chunk, a beginning of `rows`, and the tokens each reads."""
        if self.rows[0].length < self.shared:
            chunk = self.rows[0].request.prompt_ids[self.rows[0].length : self.shared][:budget]
            return self.rows[:1], [list(chunk)]
        width = min(self.left, max(1, budget // len(self.rows)))
        return self.rows, [
            list(row.request.prompt_ids[row.length : min(row.length + width, len(row.request.prompt_ids) - 1)])
            for row in self.rows
        ]

    def spread(self) -> None:
        """Gives the shared beginning to all rows, once the first has read it."""
        first = self.rows[0]
        if first.length < self.shared:
            return
        for at, row in enumerate(self.rows[1:], 1):
            if row.length < self.shared:
                self.cache.copy(self.cache, 0, at, self.shared)
                row.reused += self.shared - row.length
                row.length = self.shared


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
        self._masks = Masks(base)
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self._lock = threading.RLock()
        self._news = threading.Event()
        self._queue: deque[_Row] = deque()
        self._begun: list[_Row] = []  # out of the queue and not yet in a group
        self._groups: list[_Group] = []
        self._rows: list[_Row] = []  # row n of the cache and of the factors
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
        generator = torch.Generator().manual_seed(request.seed) if request.temperature > 0 else None
        stream = TextStream(self._base.tokenizer, request.stop)
        self._queue.append(_Row(ticket, stream, generator, time.perf_counter()))
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
        """Reads one chunk of prompts and generates one token for each answering row; returns whether there is more.

        An exception of the model fails all rows that were running, through their tickets, and is raised.
        """
        with self._lock, torch.inference_mode():
            self._news.clear()
            try:
                self._drop_cancelled()
                self._begin()
                self._read()
                self._decode()
            except BaseException as error:
                self._fail(error)
                raise
            if not self._rows and not self._groups and self._cache.size_bytes > KEPT_BYTES:
                self._cache = KeyValues(0, 0)
            return bool(self._rows or self._groups or self._queue)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps the steps of other threads out, for forward passes of one's own on the same model; requests wait."""
        with self._lock:
            yield

    def stats(self) -> SchedulerStats:
        """Returns counts; a running step may still change them."""
        return SchedulerStats(
            waiting=len(self._queue),
            reading=sum(len(group.rows) for group in list(self._groups)),
            decoding=len(self._rows),
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

    # The four parts of a step

    def _drop_cancelled(self) -> None:
        for at in reversed(range(len(self._rows))):
            if self._rows[at].ticket.cancelled:
                self._leave(at)
        # a group is one table of keys and values: it goes when nobody in it is wanted
        self._groups = [group for group in self._groups if not all(row.ticket.cancelled for row in group.rows)]

    def _begin(self) -> None:
        """Moves waiting requests into groups, as many as there are rows for."""
        room = self.max_batch - len(self._rows) - sum(len(group.rows) for group in self._groups)
        segments: dict[_Row, Segment] = {}
        while self._queue and len(self._begun) < room:
            row = self._queue.popleft()
            if row.ticket.cancelled:
                continue
            row.begun = time.perf_counter()
            if not row.request.full:
                row.length, segments[row] = self._prefixes.find(row.request.prompt_ids[:-1])
                row.reused = row.length
            self._begun.append(row)
        for rows in _alike(self._begun):
            group = _Group(rows, self._base)
            for at, row in enumerate(group.rows):
                if row.length:
                    group.cache.put(at, segments[row], row.length)
            group.spread()
            self._groups.append(group)
        self._begun = []
        self._finish_groups()

    def _read(self) -> None:
        """Reads a chunk of one group: by turns the oldest, and the one with the least to read."""
        if not self._groups:
            return
        self._turn += 1
        group = self._groups[0] if self._turn % 2 else min(self._groups, key=lambda group: group.left)
        rows, tokens = group.next_tokens(self.chunk_tokens)
        with injected(self._base, group.factors):
            forward(self._base, self._masks, group.cache, tokens, [row.length for row in rows])
        for row, read in zip(rows, tokens, strict=True):
            row.length += len(read)
        group.spread()
        self._finish_groups()

    def _finish_groups(self) -> None:
        for group in [group for group in self._groups if group.left <= 0]:
            self._groups.remove(group)
            for at, row in enumerate(group.rows):
                self._prompt_tokens += len(row.request.prompt_ids)
                self._reused_tokens += row.reused
                if row.ticket.cancelled:
                    continue
                prompt = row.request.prompt_ids[:-1]
                if not group.full and self._prefixes.wants(prompt, self._prefixes.find(prompt)[0]):
                    self._prefixes.keep(prompt, group.cache.take(at, row.length))
                self._cache.reserve(len(self._rows) + 1, row.length + 1)
                self._cache.copy(group.cache, at, len(self._rows), row.length)
                self._factors.join(row.request.injection)
                row.token = row.request.prompt_ids[-1]
                self._rows.append(row)

    def _decode(self) -> None:
        """Generates one token for every row that is answering."""
        if not self._rows:
            return
        with injected(self._base, self._factors.factors()):
            states_N1D = forward(
                self._base,
                self._masks,
                self._cache,
                [[row.token] for row in self._rows],
                [row.length for row in self._rows],
            )
        logits_NV = self._base.head(states_N1D[:, 0], normed=True)
        greedy = logits_NV.argmax(-1).tolist()
        now = time.perf_counter()
        self._steps += 1
        self._decoded_rows += len(self._rows)
        finished = []
        for at, row in enumerate(self._rows):
            row.length += 1
            row.first = row.first or now
            request = row.request
            row.token = greedy[at]
            if request.temperature > 0:
                row.token = next_token(
                    logits_NV[at], temperature=request.temperature, top_p=request.top_p, generator=row.generator
                )
            if not self._take(row, logits_NV[at], now):
                finished.append(at)
        for at in reversed(finished):
            self._leave(at)

    def _take(self, row: _Row, logits_V: torch.Tensor, now: float) -> bool:
        """Adds a token to a row and tells its listener; returns whether the row goes on."""
        ended: FinishReason | None = None
        news: tuple[TokenLogprob, ...] = ()
        if row.token in self._stop_ids:
            text, ended = row.stream.finish(), "stop"
        else:
            row.tokens.append(row.token)
            self._generated_tokens += 1
            if row.request.logprobs is not None:
                news = (logprobs(logits_V, row.token, row.request.logprobs),)
                row.logprobs.extend(news)
            text = row.stream.push(row.token)
            if row.stream.stopped:
                ended = "stop"
            elif len(row.tokens) >= row.request.max_new_tokens:
                text, ended = text + row.stream.finish(), "length"
        completion = None
        if ended:
            completion = Completion(
                text=row.stream.text,
                token_ids=tuple(row.tokens),
                finish_reason=ended,
                prompt_tokens=len(row.request.prompt_ids),
                reused_tokens=row.reused,
                queue_ms=(row.begun - row.submitted) * 1000,
                prefill_ms=(row.first - row.begun) * 1000,
                decode_ms=(now - row.first) * 1000,
                logprobs=tuple(row.logprobs),
            )
            row.ticket.completion = completion
        self._tell(row.ticket, Update(text, news, completion))
        return not ended

    def _leave(self, at: int) -> None:
        """Frees a row; the last one takes its place."""
        last = self._rows.pop()
        if at < len(self._rows):
            self._rows[at] = last
            self._cache.copy(self._cache, len(self._rows), at, last.length)
        self._factors.leave(at)

    def _fail(self, error: BaseException) -> None:
        running = [*self._rows, *(row for group in self._groups for row in group.rows), *self._begun]
        self._rows, self._groups, self._begun = [], [], []
        self._cache, self._factors = KeyValues(0, 0), FactorRows(self._base)
        for row in running:
            if not row.ticket.done:  # one may be in a group and among the begun
                row.ticket.error = error
                self._tell(row.ticket, Update(error=error))

    def _tell(self, ticket: Ticket, update: Update) -> None:
        if ticket.listener is not None and not ticket.cancelled:
            ticket.listener(update)


def _alike(rows: Sequence[_Row]) -> list[list[_Row]]:
    """Puts rows together that have about as much to read, and either all or none a full injection."""
    groups: list[list[_Row]] = []
    for row in sorted(rows, key=lambda row: (row.request.full, row.unread)):
        first = groups[-1][0] if groups else None
        if first and first.request.full == row.request.full and row.unread <= first.unread * 5 // 4 + 16:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
