"""One scored answer, and the log of them that a run appends to, line by line.

The log is the truth of a run: everything in the summary is computed from it. Its fields are a stable output (see
docs/architecture.md). Knows nothing of pipelines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import EvaluationError
from ..types import Answer
from .metrics import Metric
from .questions import Question


@dataclass(frozen=True, slots=True)
class Sample:
    """What one mode said to one question, and how that scored."""

    id: str
    """The question's id."""
    question: str
    """As asked."""
    answers: tuple[str, ...]
    """Gold answers."""
    prediction: str
    """What the model said; empty if it failed."""
    metrics: Mapping[str, float | None]
    """Score by metric; None where the metric says nothing about this question."""
    hits: tuple[Mapping[str, Any], ...] = ()
    """Retrieved passages, best first, as in `ask --json`, with `gold`: the id of the gold passage it is, or None."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds per stage, as in `ask --json`; of its whole batch where the stage is batched."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """`prompt` and `completion` tokens."""
    error: str | None = None
    """Why there is no prediction. It scores as an empty prediction."""

    def to_json(self) -> dict[str, Any]:
        """Returns the object of one line of the log."""
        return {
            "id": self.id,
            "question": self.question,
            "answers": list(self.answers),
            "prediction": self.prediction,
            "metrics": dict(self.metrics),
            "hits": [dict(hit) for hit in self.hits],
            "timings_ms": dict(self.timings_ms),
            "tokens": dict(self.tokens),
            "error": self.error,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Sample:
        """Returns the sample of one line of the log."""
        return cls(
            id=value["id"],
            question=value["question"],
            answers=tuple(value["answers"]),
            prediction=value["prediction"],
            metrics=dict(value["metrics"]),
            hits=tuple(value["hits"]),
            timings_ms=dict(value["timings_ms"]),
            tokens=dict(value.get("tokens", {})),
            error=value["error"],
        )


def score(question: Question, outcome: Answer | Exception, metrics: Iterable[Metric]) -> Sample:
    """Returns the sample of an answer, or of the failure to give one."""
    prediction = outcome.text if isinstance(outcome, Answer) else ""
    scores = {entry.name: entry.score(prediction, question) for entry in metrics}
    known = {name: None if math.isnan(value) else float(value) for name, value in scores.items()}
    if isinstance(outcome, Exception):
        error = f"{type(outcome).__name__}: {outcome}"
        return Sample(question.id, question.question, question.answers, "", known, error=error)
    said = outcome.to_json()
    golds = [question.gold_of(hit.passage) for hit in outcome.hits]
    hits = tuple({**shown, "gold": gold} for shown, gold in zip(said["hits"], golds, strict=True))
    return Sample(
        question.id,
        question.question,
        question.answers,
        prediction,
        known,
        hits,
        said["timings_ms"],
        said["tokens"],
    )


def read_samples(path: Path) -> tuple[list[Sample], int]:
    """Returns the samples of a log and the length in bytes of its whole lines.

    A last line without its line end was torn by a kill and is left out; the length tells where it starts.

    Raises:
        EvaluationError: a whole line is not a sample.
    """
    samples: list[Sample] = []
    length = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                samples.append(Sample.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(
                    f"{path}:{number}: not a sample ({type(error).__name__}: {error}); "
                    "the log was changed by something else: remove this line, or use another run directory"
                ) from error
            length += len(line)
    return samples, length


class SampleLog:
    """Appends samples to a file, each on disk before the next is asked for. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.samples, length = read_samples(path)
        """What the log already held when it was opened, without a torn last line."""
        self._file = path.open("r+b")
        self._file.truncate(length)
        self._file.seek(length)

    def drop_failed(self) -> None:
        """Forgets the samples that failed, so that they are asked again."""
        self.samples = [sample for sample in self.samples if sample.error is None]
        self._file.seek(0)
        self._file.truncate()
        self.append(self.samples)

    def append(self, samples: Sequence[Sample]) -> None:
        """Writes samples, one line each."""
        for sample in samples:
            line = json.dumps(sample.to_json(), ensure_ascii=False, allow_nan=False)
            self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
            self._file.flush()

    def __enter__(self) -> SampleLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
