"""Which response is run through which mode: each mode's own, or one and the same for all.

Two modes that say different things are compared at different tokens, so a difference in some quantity may be one of
the words and not of the mechanism. Forcing one response through all modes takes that out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import ConfigError, EvaluationError
from ..evaluate.questions import Question
from ..infer import Request
from ..models import answer_ids
from ..pipeline import Pipeline
from ..types import Used

OWN, GOLD = "own", "gold"


@dataclass(frozen=True, slots=True)
class Case:
    """One question in one mode, with the response to run."""

    question: Question
    """The question."""
    request: Request
    """Prompt and injection, as `ask` would give them to the engine."""
    used: tuple[Used, ...]
    """Where each retrieved passage went."""
    response_ids: tuple[int, ...]
    """Tokens to force; at least one."""


@dataclass(frozen=True, slots=True)
class Cases:
    """The same questions in several modes."""

    modes: Mapping[str, tuple[Case, ...]]
    """Mode -> cases, in the order of the questions, the same questions in each."""
    left_out: int
    """Questions left out of all modes, since one mode had no response to run."""


def cases(pipelines: Mapping[str, Pipeline], questions: Sequence[Question], response: str = OWN) -> Cases:
    """Prepares every question in every mode.

    Args:
        pipelines: mode -> pipeline; all with the same engine.
        questions: in any number.
        response: `own`: what each mode answers; `gold`: the first gold answer; or the name of one of the modes: what
            that one answers, in all.

    Raises:
        ConfigError: no pipeline, or a response that is none of these.
        EvaluationError: no question is left.
    """
    if not pipelines or response not in (OWN, GOLD, *pipelines):
        raise ConfigError(
            f"response {response!r} over modes {', '.join(pipelines) or 'none'}; expected own, gold, or one of the "
            "modes, of which there must be at least one"
        )
    base = next(iter(pipelines.values())).engine.base
    prepared = {
        mode: [pipeline.request(question.question) for question in questions] for mode, pipeline in pipelines.items()
    }
    spoken: dict[str, list[tuple[int, ...]]] = {}
    for mode in pipelines if response == OWN else [response] if response != GOLD else []:
        requests = [request for request, _ in prepared[mode]]
        spoken[mode] = [done.token_ids for done in pipelines[mode].engine.generate(requests)]
    gold = [answer_ids(base.tokenizer, question.answers[0]) if question.answers else () for question in questions]
    found: dict[str, list[Case]] = {mode: [] for mode in pipelines}
    left_out = 0
    for at, question in enumerate(questions):
        said = {
            mode: gold[at] if response == GOLD else spoken.get(mode, spoken.get(response, ()))[at] for mode in found
        }
        if not all(said.values()):
            left_out += 1
            continue
        for mode, entries in found.items():
            entries.append(Case(question, *prepared[mode][at], said[mode]))
    if left_out == len(questions):
        raise EvaluationError(
            f"none of {len(questions)} questions has a response in every mode (response {response!r}); "
            "expected at least one: give other questions, or another response"
        )
    return Cases({mode: tuple(entries) for mode, entries in found.items()}, left_out)
