"""Accuracy on closed labels (SUPPORTS/REFUTES/NOT ENOUGH INFO, yes/no/maybe, a question's choices), from free text.

A small model rarely says the bare label, so the verdict is looked for: after "answer:" or "the answer is" if that
stands there, else from the start; the first word that gives a label counts, turned round by a negation before it.
Of a question's own choices, the first that the prediction names counts; of two at the same place, the longer. A
prediction that gives no label is wrong, not undefined.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..labels import FACT_LABELS, MAYBE, NO, NOT_ENOUGH_INFO, REFUTES, SUPPORTS, YES, label_of
from ..normalise import align, fold
from ..questions import Question
from .definition import UNDEFINED, Metric

_LEAD = re.compile(r"\b(?:answer|label|verdict|conclusion)\s*(?:is|:)[\s:*\"']*")
# "SUPPORTS or REFUTES", "yes/no/maybe": the options said back, no verdict.
_LABEL = r"(?:supports?|refutes?|not enough info(?:rmation)?|yes|no|maybe|true|false)"
_ECHO = re.compile(rf"\b{_LABEL}\b(?:\s*,\s*{_LABEL}\b)*(?:\s*(?:,?\s*\bor\b|[/|])\s*{_LABEL}\b)+")
_UNKNOWN = re.compile(
    r"\b(?:not (?:have )?enough (?:info|information|evidence)|nei|neither|insufficient|inconclusive|unverifiable"
    r"|cannot be (?:determined|verified)|can't be (?:determined|verified))\b"
)
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_SUPPORTING = frozenset(
    ("supports", "support", "supported", "true", "correct", "accurate", "entails", "entailed", "confirms", "confirmed")
)
_REFUTING = frozenset(
    (
        "refutes",
        "refute",
        "refuted",
        "false",
        "incorrect",
        "inaccurate",
        "untrue",
        "wrong",
        "contradicts",
        "unsupported",
    )
)
_NEGATIONS = frozenset(("not", "never", "cannot", "hardly", "without"))
_NEGATION_REACH = 3  # words between a negation and what it denies: "does not really support"
_POLAR = {
    **dict.fromkeys(("yes", "yeah", "yep"), YES),
    **dict.fromkeys(("no", "nope"), NO),
    **dict.fromkeys(("maybe", "perhaps", "possibly", "unclear", "uncertain", "inconclusive"), MAYBE),
}


def score(prediction: str, question: Question) -> float:
    """Returns 1 if the label read from the prediction is a gold one, else 0; undefined where no gold is a label."""
    if question.task == "choices":
        return float(chosen(prediction, question.choices) in question.answers)
    gold = {label for label in map(label_of, question.answers) if label}
    if not gold:
        return UNDEFINED
    read = fact_label if gold & FACT_LABELS else polar_label
    return float(read(prediction) in gold)


def chosen(text: str, choices: Sequence[str]) -> str | None:
    """Returns the choice that free text names first, at word boundaries, or None."""
    found = []
    for choice in choices:
        pair = align(text, choice)
        at = f" {pair.prediction} ".find(f" {pair.gold} ")
        if pair.gold and at >= 0 and (not pair.whole or pair.prediction == pair.gold):
            found.append((at, -len(pair.gold), choice))
    return min(found)[2] if found else None


def fact_label(text: str) -> str | None:
    """Returns SUPPORTS, REFUTES or NOT ENOUGH INFO (lower case) as said in free text, or None."""
    for part in _parts(text):
        unknown = _UNKNOWN.search(part)
        words = [(match.group(), match.start()) for match in _WORD.finditer(part)]
        for index, (word, start) in enumerate(words):
            if unknown and unknown.start() <= start:
                return NOT_ENOUGH_INFO
            if index == 0 and word in (YES, NO):
                return SUPPORTS if word == YES else REFUTES
            if word in _SUPPORTING or word in _REFUTING:
                before = [earlier for earlier, _ in words[max(0, index - _NEGATION_REACH) : index]]
                denied = any(earlier in _NEGATIONS or earlier.endswith("n't") for earlier in before)
                return SUPPORTS if (word in _SUPPORTING) != denied else REFUTES
    return None


def polar_label(text: str) -> str | None:
    """Returns yes, no or maybe as said first in free text (true and false if none is), or None."""
    for part in _parts(text):
        words = _WORD.findall(part)
        said = next((_POLAR[word] for word in words if word in _POLAR), None)
        if said is None:
            said = {SUPPORTS: YES, REFUTES: NO, NOT_ENOUGH_INFO: MAYBE, None: None}[fact_label(part)]
        if said:
            return said
    return None


def _parts(text: str) -> list[str]:
    """Where to look, in order: after the last lead to a verdict, then everything."""
    text = _ECHO.sub(" ", fold(text).lower().replace("_", " "))
    leads = list(_LEAD.finditer(text))
    return [text[leads[-1].end() :], text] if leads else [text]


METRICS = (
    Metric(
        "label_accuracy",
        "The label read from the prediction is the gold label.",
        "label accuracy of FEVER (arXiv 1803.05355), with a reader for free text",
        binary=True,
        score=score,
    ),
)
