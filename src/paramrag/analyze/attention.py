"""Does an injection turn attention to the passage that answers, and does it matter where that passage stands?

The gold answer is forced after the prompt; at the positions that predict its tokens, the attention weights that fall
on each passage are added up, and averaged over heads and positions. Both rows, base and injected, see the same tokens.
Much attention falls on the first token of a prompt whatever follows, so beside the mass of a passage there is its
share of what falls on passages at all.

Shapes: R rows (base, injected), H heads, N answer tokens, T tokens, K passages, L layers, n questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import EvaluationError
from ..evaluate.metrics import metric
from ..evaluate.questions import Question
from ..evaluate.statistics import Estimate, bootstrap_mean, wilson
from ..infer import Request
from ..models import BaseModel, answer_ids, passage_spans, prompt_ids
from ..pipeline import Pipeline
from ..types import Injection, Passage, Progress
from .attending import attention_watched
from .curves import Curve
from .forcing import Forced
from .gold import gold_index

BASE, INJECTED = "base", "injected"
RETRIEVED = "as retrieved"


def attention_mass(
    base: BaseModel,
    question: str,
    passages: Sequence[Passage],
    response_ids: Sequence[int],
    injections: Sequence[Injection | None] = (None,),
) -> np.ndarray:
    """Returns the share of all attention that falls on each passage of the prompt, float64 [R, L, K].

    Args:
        passages: in the prompt, in this order.
        response_ids: what is forced after the prompt.
        injections: one row each.
    """
    return _seen(base, question, passages, response_ids, injections)[0]


def _seen(
    base: BaseModel,
    question: str,
    passages: Sequence[Passage],
    response_ids: Sequence[int],
    injections: Sequence[Injection | None],
) -> tuple[np.ndarray, np.ndarray]:
    """The mass of `attention_mass`, and the mean log-probability of a response token [R], from one reading."""
    spans = passage_spans(base.tokenizer, question, passages)
    found = np.empty((len(injections), base.layer_count, len(passages)))

    def visit(layer: int, weights_RHNT: torch.Tensor) -> None:
        mass_RT = weights_RHNT.float().mean((1, 2))
        for at, span in enumerate(spans):
            found[:, layer, at] = mass_RT[:, span.start : span.stop].sum(-1).cpu().numpy()

    prompt = prompt_ids(base.tokenizer, question, passages)
    log_probs_RN = Forced(base, prompt, injections).log_probs(response_ids, attention_watched(base, visit))
    return found, log_probs_RN.mean(-1).numpy()


@dataclass(frozen=True, slots=True)
class Gaze:
    """One order of the passages, with or without the injection."""

    gold_mass: Curve
    """Share of all attention that falls on the gold passage, by layer."""
    gold_share: Curve
    """Its share of what falls on passages."""
    log_probs: np.ndarray
    """Mean log-probability of a token of the gold answer, nats, question by question, float64 [n]."""
    has_answer: Estimate
    """Share of answers that hold a gold answer."""

    @property
    def log_prob(self) -> Estimate:
        """Mean of `log_probs`, with its interval."""
        return bootstrap_mean(self.log_probs.tolist())

    def to_json(self) -> dict[str, Any]:
        """Returns means with intervals, and by layer."""
        return {
            "gold_mass": self.gold_mass.to_json(),
            "gold_share": self.gold_share.to_json(),
            "log_prob": asdict(self.log_prob),
            "has_answer": asdict(self.has_answer),
        }


@dataclass(frozen=True, slots=True)
class AttentionStudy:
    """Attention to the gold passage, in several orders of the passages."""

    orders: Mapping[str, Mapping[str, Gaze]]
    """Place of the gold passage (`as retrieved`, `first`, `middle`, `last`) -> `base`, `injected` -> what is seen."""
    passages: int
    """Passages in every prompt."""
    n: int
    """Questions."""
    left_out: int
    """Questions whose gold passage was not retrieved, or that have too few hits or no gold answer."""

    def moved(self, order: str = RETRIEVED) -> Curve:
        """Returns what the injection adds to the gold passage's share, by layer, paired."""
        rows = self.orders[order]
        return rows[INJECTED].gold_share - rows[BASE].gold_share

    def to_json(self) -> dict[str, Any]:
        """Returns everything, with intervals."""
        return {
            "n": self.n,
            "left_out": self.left_out,
            "passages": self.passages,
            "orders": {
                order: {name: gaze.to_json() for name, gaze in rows.items()} for order, rows in self.orders.items()
            },
            "moved": {order: self.moved(order).to_json() for order, rows in self.orders.items() if INJECTED in rows},
        }


def attention(pipeline: Pipeline, questions: Sequence[Question], *, progress: Progress | None = None) -> AttentionStudy:
    """Measures attention to the gold passage, and moves that passage through the prompt.

    Args:
        pipeline: with passages in the text; where it injects none, only the base is seen.
        questions: those whose gold passage is not among the passages of the text are left out.
        progress: called as ("analyze", questions done, questions).

    Raises:
        EvaluationError: the pipeline puts fewer than two passages into the text, or no question is left.
        NotFoundError: an adapter is missing.
    """
    engine, count = pipeline.engine, pipeline.text_k
    if count < 2:
        raise EvaluationError(
            f"mode {pipeline.mode.name} puts {count} passages into the text; expected 2 or more to choose between"
        )
    places = {"first": 0, "middle": count // 2, "last": count - 1} if count > 2 else {"first": 0, "last": 1}
    asked: list[Question] = []
    golds: list[int] = []
    seen: list[dict[int, _View]] = []
    for done, question in enumerate(questions, 1):
        request, used = pipeline.request(question.question)
        passages = [entry.hit.passage for entry in used if entry.in_text]
        gold = gold_index(question, passages) if question.answers else None
        if gold is None or len(passages) < count:
            continue
        asked.append(question)
        golds.append(gold)
        seen.append(
            {place: _view(engine.base, question, request, passages, gold, place) for place in {gold, *places.values()}}
        )
        if progress:
            progress("analyze", done, len(questions))
    if not asked:
        raise EvaluationError(
            f"of {len(questions)} questions none has its gold passage among {count} retrieved ones; give questions "
            "about this collection, or retrieve more"
        )
    flat = [request for views in seen for view in views.values() for request in view.requests]
    said = iter(done.text for done in engine.generate(flat))
    texts = [{place: [next(said) for _ in view.requests] for place, view in views.items()} for views in seen]
    orders = {}
    for order in (RETRIEVED, *places):
        at = [gold if order == RETRIEVED else places[order] for gold in golds]
        views = [each[place] for each, place in zip(seen, at, strict=True)]
        orders[order] = _gazes(asked, at, views, [each[place] for each, place in zip(texts, at, strict=True)])
    return AttentionStudy(orders, count, len(asked), len(questions) - len(asked))


class _View(NamedTuple):
    """One question with its gold passage in one place."""

    mass_RLK: np.ndarray
    log_prob_R: np.ndarray
    requests: list[Request]


def _view(
    base: BaseModel, question: Question, request: Request, passages: Sequence[Passage], gold: int, place: int
) -> _View:
    others = [passage for at, passage in enumerate(passages) if at != gold]
    arranged = [*others[:place], passages[gold], *others[place:]]
    injections = [None] if request.injection is None else [None, request.injection]
    response = answer_ids(base.tokenizer, question.answers[0])
    mass, log_prob = _seen(base, question.question, arranged, response, injections)
    prompt = prompt_ids(base.tokenizer, question.question, arranged)
    return _View(mass, log_prob, [replace(request, prompt_ids=prompt, injection=each) for each in injections])


def _gazes(
    asked: Sequence[Question], golds: Sequence[int], views: Sequence[_View], texts: Sequence[Sequence[str]]
) -> dict[str, Gaze]:
    has_answer = metric("has_answer")
    found: dict[str, Gaze] = {}
    rows = min(len(view.requests) for view in views)
    for row, name in enumerate((BASE, INJECTED)[:rows]):
        mass = np.array([view.mass_RLK[row, :, gold] for view, gold in zip(views, golds, strict=True)])
        total = np.array([view.mass_RLK[row].sum(-1) for view in views])
        scores = [has_answer.score(said[row], question) for said, question in zip(texts, asked, strict=True)]
        found[name] = Gaze(
            gold_mass=Curve(mass),
            gold_share=Curve(mass / np.maximum(total, np.finfo(np.float64).tiny)),
            log_probs=np.array([float(view.log_prob_R[row]) for view in views]),
            has_answer=wilson(scores),
        )
    return found
