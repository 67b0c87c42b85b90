"""Questions through pipelines: batched, logged sample by sample, resumable after a kill at any point.

Knows of a pipeline only that it answers a list of questions; encoding what is missing is the caller's business.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from ..errors import EvaluationError
from ..types import Answer, Hit, Progress, Query
from .asking import query_of
from .metrics import Metric, metric, metrics_for
from .passage_log import PassageLog
from .questions import Question
from .run_directory import RunDirectory, identify, read_run_samples
from .samples import Sample, SampleLog, score
from .summary import Summary, summarise

_log = logging.getLogger(__name__)


class AskMany(Protocol):
    """Anything that answers questions in batches; `Pipeline` is one."""

    def ask_many(self, questions: list[Query], /) -> Sequence[Answer]:
        """Returns one answer per question, in their order."""
        ...


def evaluate(
    pipelines: Mapping[str, AskMany],
    questions: Sequence[Question],
    out: str | Path | None = None,
    *,
    given: Mapping[str, Sequence[Hit]] | None = None,
    metrics: Iterable[str | Metric] | None = None,
    batch: int = 8,
    configuration: Mapping[str, Any] | None = None,
    seed: int = 0,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Asks every pipeline every question and returns means with 95 % intervals.

    Args:
        pipelines: by mode name, asked one after the other.
        questions: ids must be unique.
        out: run directory. What it already holds of this run is not asked again, and modes of it that are not in
            `pipelines` stay part of the summary. None keeps everything in memory.
        given: passages to give instead of retrieving, by question id (see `oracle`); None: retrieve.
        metrics: names or metrics; None takes what the questions' tasks call for.
        batch: questions per call of a pipeline. A batch that fails is asked again one by one; a question that fails
            alone is recorded with its error and scores as an empty prediction.
        configuration: resolved settings, saved in run.json; a run directory of other settings is refused.
        seed: decides the bootstrap resamples, and is saved; pipelines carry their own.
        retry_failed: ask the questions again that failed when the run directory was written.
        progress: called as (mode, done, total).

    Raises:
        EvaluationError: an argument is not valid, or the run directory holds another run or is in use.
    """
    chosen = metrics_for(questions) if metrics is None else tuple(metric(name) for name in metrics)
    _check(pipelines, questions, chosen, batch)
    run = None if out is None else RunDirectory(Path(out))
    with run.locked() if run else nullcontext():
        if run:
            run.claim(identify(configuration or {}, seed, chosen, questions))
        samples: dict[str, list[Sample]] = {}
        for mode, pipeline in pipelines.items():
            with run.log(mode) if run else nullcontext() as log, run.passages() if run else nullcontext() as texts:
                if log and retry_failed:
                    log.drop_failed()
                samples[mode] = _ask(mode, pipeline, questions, given, chosen, batch, log, texts, progress)
        if run:
            samples |= {mode: found for mode, found in read_run_samples(run.path).items() if mode not in samples}
        summary = summarise(samples, questions, chosen, seed=seed)
        if run:
            run.write_summary(summary.to_json())
        return summary


def _ask(
    mode: str,
    pipeline: AskMany,
    questions: Sequence[Question],
    given: Mapping[str, Sequence[Hit]] | None,
    metrics: Sequence[Metric],
    batch: int,
    log: SampleLog | None,
    texts: PassageLog | None,
    progress: Progress | None,
) -> list[Sample]:
    """Asks what the log does not hold yet; returns all samples in the order of the questions."""
    samples = {sample.id: sample for sample in log.samples} if log else {}
    left = [question for question in questions if question.id not in samples]
    if progress:
        progress(mode, len(samples), len(questions))
    for start in range(0, len(left), batch):
        asked = left[start : start + batch]
        hits = [None if given is None else given.get(entry.id, ()) for entry in asked]
        outcomes = _outcomes(pipeline, [query_of(entry, own) for entry, own in zip(asked, hits, strict=True)])
        scored = [score(question, outcome, metrics) for question, outcome in zip(asked, outcomes, strict=True)]
        if texts:  # before the samples that name them
            texts.add(hit.passage for outcome in outcomes if isinstance(outcome, Answer) for hit in outcome.hits)
        if log:
            log.append(scored)
        samples |= {sample.id: sample for sample in scored}
        if progress:
            progress(mode, len(samples), len(questions))
    return [samples[question.id] for question in questions]


def _outcomes(pipeline: AskMany, queries: Sequence[Query]) -> list[Answer | Exception]:
    """Answers, or why there is none; a batch that fails is asked one by one, so that one question costs only itself."""
    try:
        return list(_answers(pipeline, queries))
    except Exception as error:  # noqa: BLE001 - whatever a pipeline raises is this sample's result
        if len(queries) == 1:
            _log.info("question %s failed", queries[0].id, exc_info=error)
            return [error]
    return [outcome for query in queries for outcome in _outcomes(pipeline, [query])]


def _answers(pipeline: AskMany, queries: Sequence[Query]) -> Sequence[Answer]:
    answers = pipeline.ask_many(list(queries))
    if len(answers) != len(queries):
        raise EvaluationError(f"the pipeline gave {len(answers)} answers to {len(queries)} questions")
    for answer, query in zip(answers, queries, strict=True):
        if answer.question.strip() != query.text.strip():
            raise EvaluationError(f"the pipeline answered {answer.question!r} where {query.text!r} was asked")
    return answers


def _check(
    pipelines: Mapping[str, AskMany], questions: Sequence[Question], metrics: Sequence[Metric], batch: int
) -> None:
    if not pipelines or not questions:
        raise EvaluationError(
            f"nothing to evaluate: {len(pipelines)} pipelines and {len(questions)} questions; expected one of each"
        )
    if batch < 1:
        raise EvaluationError(f"batch is {batch}, expected at least 1 question per call")
    for kind, names in (("question id", [q.id for q in questions]), ("metric", [m.name for m in metrics])):
        name, times = Counter(names).most_common(1)[0] if names else ("", 0)
        if times > 1:
            raise EvaluationError(f"{kind} {name!r} is given {times} times; expected once")
