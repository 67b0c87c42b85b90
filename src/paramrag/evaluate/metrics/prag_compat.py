"""EM and F1 as the published PRAG code computes them, only to compare with its tables.

It cuts every prediction at the first full stop, line end or comma before scoring, so that "St. Louis" becomes "St"
and "1,000" becomes "1". Do not use these to choose a method.
"""

from __future__ import annotations

from ..questions import Question
from . import em, f1
from .definition import Metric

_LEAD = "the answer is"
_STOPS = (".", "\n", ",")


def cut(prediction: str) -> str:
    """Returns the part that PRAG's `evaluate` scores (github.com/oneal2000/PRAG, src/utils.py)."""
    if _LEAD in prediction:
        prediction = prediction[prediction.find(_LEAD) + len(_LEAD) :]
    prediction = prediction.strip()
    for stop in _STOPS:
        prediction = prediction.partition(stop)[0].strip()
    return prediction


def em_prag(prediction: str, question: Question) -> float:
    """Returns EM of the cut prediction."""
    return em.score(cut(prediction), question)


def f1_prag(prediction: str, question: Question) -> float:
    """Returns F1 of the cut prediction."""
    return f1.f1(cut(prediction), question)


_SOURCE = "PRAG (arXiv 2501.15915), src/utils.py of its code"

METRICS = (
    Metric("em_prag", "Exact match after PRAG's cut at '.', line end, ','.", _SOURCE, binary=True, score=em_prag),
    Metric("f1_prag", "Token F1 after PRAG's cut at '.', line end, ','.", _SOURCE, binary=False, score=f1_prag),
)
