"""Whom does the model believe where a passage contradicts it? Ps, Po and MR.

Defined for questions whose metadata holds `counterfactual` (what the contradicting passages say) and `original`
(what they contradict). Two differences from the published script, both against false counts: an answer counts at
token boundaries, not as any substring; and a mention inside the other side's longer answer ("2007" in "21 June
2007") is not a mention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..normalise import align, normalise
from ..questions import Question
from .definition import UNDEFINED, Metric

Verdict = Literal["counterfactual", "original", "other"]
Span = tuple[int, int]

_NEGATIONS = frozenset(
    ("no", "not", "never", "none", "cannot", "nobody", "nothing", "nowhere", "neither", "nor", "without", "hardly")
)


def verdict(prediction: str, question: Question) -> Verdict | None:
    """Returns whose answer the prediction gives, or None where the question has no conflict.

    `original` if it holds an original answer at all; `counterfactual` if it holds a counterfactual one, no original
    one and no negation; `other` otherwise.
    """
    counterfactual = tuple(question.metadata.get("counterfactual", ()))
    original = tuple(question.metadata.get("original", ()))
    if not counterfactual or not original:
        return None
    passage_spans, memory_spans = _mentions(prediction, counterfactual), _mentions(prediction, original)
    if any(not _inside_any(span, passage_spans) for span in memory_spans):
        return "original"
    stated = [span for span in passage_spans if not _inside_any(span, memory_spans)]
    tokens = normalise(prediction).split()
    # A negation that is part of the answer itself ("Never Let Me Go", "no") denies nothing.
    free = [token for index, token in enumerate(tokens) if not any(start <= index < end for start, end in stated)]
    return "counterfactual" if stated and _NEGATIONS.isdisjoint(free) else "other"


def _mentions(prediction: str, answers: Sequence[str]) -> list[Span]:
    """Token spans of the normalised prediction that are one of the answers."""
    tokens = normalise(prediction).split()
    spans = []
    for answer in answers:
        pair = align(prediction, answer)
        if pair.whole:  # nothing but articles or punctuation: only as the whole prediction
            if pair.gold and pair.prediction == pair.gold:
                spans.append((0, max(1, len(tokens))))
            continue
        wanted = pair.gold.split()
        starts = range(len(tokens) - len(wanted) + 1)
        spans += [(start, start + len(wanted)) for start in starts if tokens[start : start + len(wanted)] == wanted]
    return spans


def _inside_any(span: Span, others: Sequence[Span]) -> bool:
    return any(other[0] <= span[0] and span[1] <= other[1] and other != span for other in others)


def _share(wanted: Verdict, prediction: str, question: Question) -> float:
    found = verdict(prediction, question)
    return UNDEFINED if found is None else float(found == wanted)


def ps(prediction: str, question: Question) -> float:
    """Returns 1 if the prediction follows the counterfactual passage."""
    return _share("counterfactual", prediction, question)


def po(prediction: str, question: Question) -> float:
    """Returns 1 if the prediction holds the original answer."""
    return _share("original", prediction, question)


def other(prediction: str, question: Question) -> float:
    """Returns 1 if the prediction follows neither."""
    return _share("other", prediction, question)


def mr(prediction: str, question: Question) -> float:
    """Returns 1 for original, 0 for counterfactual, else undefined: the mean of the defined is Po / (Po + Ps)."""
    found = verdict(prediction, question)
    return {"original": 1.0, "counterfactual": 0.0}.get(found or "other", UNDEFINED)


_SOURCE = "Context-DPO (arXiv 2412.15280), evaluation.py of its code; MR of Longpre et al. (arXiv 2109.05052)"

METRICS = (
    Metric("ps", "The prediction gives the counterfactual answer, unnegated, and no original one.", _SOURCE, True, ps),
    Metric("po", "The prediction gives an original answer.", _SOURCE, True, po),
    Metric("conflict_other", "The prediction gives neither: 1 - Ps - Po.", _SOURCE, True, other),
    Metric("mr", "Memorisation ratio Po / (Po + Ps), over the predictions that give either.", _SOURCE, True, mr),
)
