"""Documents that come and go while the server answers; their adapters are made in the background."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import secrets
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ..config import Recipe
from ..corpus import cut, read
from ..errors import CorpusError, NotFoundError
from ..infer import Engine
from ..parameterize import DynamicParameterizer, StaticParameterizer
from ..parameterize.hypernet import Predictor
from ..store import Collection
from ..types import Document, content_hash
from .problems import Problem, problem_of
from .protocol import NewDocument

logger = logging.getLogger(__name__)

BATCH = 4
"""Passages encoded at once: few, so that a job soon notices that it is to stop."""


Encodes = StaticParameterizer | DynamicParameterizer
"""What makes adapters of a collection's passages."""


@dataclass(slots=True)
class Job:
    """Adapters to make for some passages."""

    passage_ids: tuple[str, ...]
    """Which."""
    id: str = field(default_factory=lambda: f"job-{secrets.token_hex(8)}")
    """Names it."""
    state: Literal["queued", "running", "done", "failed", "cancelled"] = "queued"
    """How far it is."""
    done: int = 0
    """Passages that are dealt with."""
    failed: int = 0
    """Passages that could not be encoded."""
    error: str | None = None
    """Why it failed."""

    def to_json(self) -> dict[str, Any]:
        """Returns what is sent of it."""
        return {
            "id": self.id,
            "object": "encoding_job",
            "status": self.state,
            "passages": len(self.passage_ids),
            "done": self.done,
            "failed": self.failed,
            "error": self.error,
        }


class Encoder:
    """One thread that encodes; it has modules of its own, so that training is not felt by who is answering."""

    def __init__(
        self, collection: Collection, engine: Engine, recipe: Recipe, hypernet: Predictor | None = None, *, limit: int
    ) -> None:
        self._collection, self._recipe, self._limit = collection, recipe, limit
        self._hypernet = hypernet
        self._base = engine.base
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="paramrag-encoder", daemon=True)

    def start(self) -> None:
        """Begins to wait for jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the batch that is being trained; what was encoded is stored, the rest is left."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    @property
    def open_jobs(self) -> int:
        """Jobs that wait or run."""
        return sum(job.state in ("queued", "running") for job in list(self._jobs.values()))

    def jobs(self) -> list[Job]:
        """Returns all jobs that are remembered, the newest first."""
        return list(self._jobs.values())[::-1]

    def job(self, job_id: str) -> Job:
        """Returns a job.

        Raises:
            Problem: 404.
        """
        if job_id not in self._jobs:
            raise Problem(404, f"no encoding job {job_id!r}", code="not_found")
        return self._jobs[job_id]

    def check_room(self) -> None:
        """Refuses new jobs while too many wait.

        Raises:
            Problem: 429.
        """
        if len(self._queue) >= self._limit:
            said = f"{len(self._queue)} encoding jobs wait, the most this server keeps; try again later"
            raise Problem(429, said, code="overloaded", headers={"Retry-After": "30"})

    def submit(self, passage_ids: Sequence[str]) -> Job:
        """Queues the encoding of passages."""
        job = Job(tuple(passage_ids))
        with self._changed:
            self._jobs[job.id] = job
            finished = [other.id for other in self._jobs.values() if other.state in ("done", "failed", "cancelled")]
            for old in finished[: max(0, len(finished) - self._limit)]:
                del self._jobs[old]
            self._queue.append(job)
            self._changed.notify()
        return job

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # answering comes first; Linux sets this per thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        encode: list[Encodes] = []
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if self._stopping:
                    for job in self._queue:
                        job.state = "cancelled"
                    return
                job = self._queue.popleft()
            job.state = "running"
            try:
                encode = encode or self._parameterizers()
                self._encode(encode, job)
            except Exception as error:  # noqa: BLE001 - a job must not end the thread; the log has the traceback
                job.state, job.error = "failed", problem_of(error).message

    def _parameterizers(self) -> list[Encodes]:
        """Returns what makes adapters, the quicker first."""
        engine = Engine(self._base.twin())
        predicting: list[Encodes] = [DynamicParameterizer(engine, self._hypernet)] if self._hypernet else []
        return [*predicting, StaticParameterizer(engine, self._recipe)]

    def _encode(self, encode: Sequence[Encodes], job: Job) -> None:
        for start in range(0, len(job.passage_ids), BATCH):
            if self._stopping:
                job.state = "cancelled"
                return
            wanted = job.passage_ids[start : start + BATCH]
            for _ in range(3):  # a document may be removed while its passages are being encoded
                held = set(self._collection.passage_ids())
                here = [passage_id for passage_id in wanted if passage_id in held]
                try:
                    job.failed += sum(len(one.encode(self._collection, here).failed) for one in encode)
                    break
                except NotFoundError:
                    continue
            job.done += len(wanted)
        job.state = "done"


def documents_of(new: Sequence[NewDocument], words: int = 100) -> list[Document]:
    """Returns documents, cut into passages, of what was sent.

    Raises:
        Problem: 400, one of them cannot be read.
    """
    made: list[Document] = []
    for at, entry in enumerate(new):
        try:
            made += _from_text(entry, words) if entry.text is not None else _from_file(entry, words)
        except CorpusError as error:
            raise Problem(400, f"{entry.id}: {error}", code="unreadable", param=f"documents.{at}") from error
    return made


def _from_text(entry: NewDocument, words: int) -> list[Document]:
    text = entry.text or ""
    title = entry.title or PurePosixPath(entry.id).stem
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError("the text is not valid Unicode") from error
    passages = cut(text, title=title, words=words)
    if not passages:
        raise CorpusError("there is no text in it")
    return [Document(entry.id, title, content_hash(title, text, str(words)), passages)]


def _from_file(entry: NewDocument, words: int) -> list[Document]:
    try:
        data = base64.b64decode(entry.file_base64 or "", validate=True)
    except ValueError as error:  # binascii.Error is one; characters beyond ASCII raise the plain one
        raise CorpusError("file_base64 is not base64") from error
    suffix = PurePosixPath(entry.id.replace("\\", "/")).suffix.lower()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{suffix if suffix[1:].isalnum() else ''}"
        path.write_bytes(data)
        reading = read([path], words=words)
        documents = list(reading.documents)
        if not documents:
            reasons = "; ".join(skipped.reason for skipped in reading.skipped) or "there is no text in it"
            raise CorpusError(reasons)
        named = []
        for document in documents:
            _, mark, record = document.id.partition("#")
            title = entry.title or (entry.id if document.title == path.stem else document.title)
            named.append(replace(document, id=entry.id + mark + record, title=title))
        return named
