"""Cells -> which findings of arXiv 2510.12668 hold in them, decided by intervals over paired questions.

A claim sets one side against another: a mode under conditions. Both sides are asked the same questions under the same
recipe and passages, so pairs are pooled over data sets; what has no cells is not told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..evaluate import paired_difference
from ..evaluate.findings import Finding
from .cells import Cell

_CONDITIONS = ("text", "adapters", "shuffled_text", "task_lora")
_PAPER = "paper"  # name of the published recipe
_SHARED = ("given", "top_k", "retriever", "aggregator", "model")  # the same on both sides


@dataclass(frozen=True, slots=True)
class Side:
    """What is asked on one side of a claim."""

    mode: str
    text: str | None = None
    adapters: str | None = None
    shuffled_text: bool | None = None
    task_lora: bool | None = None
    recipe: str | None = None
    """Name of the recipe; None: the one that most cells have."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`one` is above `other` in a metric, if the claim is right."""

    claim: str
    one: Side
    other: Side
    metric: str
    measured: str


_P, _T, _PT, _VANILLA = Side("p-rag"), Side("t-rag"), Side("pt-rag"), Side("vanilla")


def claims(metric: str) -> Iterator[Claim]:
    """Yields what is looked for, with `metric` as accuracy."""
    yield Claim("Adapters alone hold knowledge of their passages", _P, _VANILLA, metric, "P-RAG less vanilla")
    yield Claim("Adapters alone hold less than the text", _T, _P, metric, "T-RAG less P-RAG")
    yield Claim("Text and adapters together are best: above the text", _PT, _T, metric, "PT-RAG less T-RAG")
    yield Claim("Text and adapters together are best: above the adapters", _PT, _P, metric, "PT-RAG less P-RAG")
    yield Claim(
        "The gain over the text is more than a generic QA adapter gives (control)",
        _PT, Side("t-rag", task_lora=True), metric, "PT-RAG less T-RAG with the task adapter",
    )  # fmt: skip
    yield Claim(
        "The gain of adapters is of their own passage (control)",
        _P, Side("p-rag", adapters="shuffled"), metric, "P-RAG less P-RAG with another passage's adapters",
    )  # fmt: skip
    yield Claim(
        "The gain of adapters is of what the passage says, not of its words (control)",
        _P, Side("p-rag", shuffled_text=True), metric, "P-RAG less P-RAG with adapters of shuffled text",
    )  # fmt: skip
    for side in ("p-rag", "pt-rag"):
        yield Claim(
            f"The default recipe is better than the published one (ours), {side}",
            Side(side), Side(side, recipe=_PAPER), metric, f"{side}, default less paper",
        )  # fmt: skip
    for step, words in (("replace-last", "the last"), ("replace-first", "the first"), ("replace-all", "every")):
        yield Claim(
            f"Beside noise in place of {words} passage, text and adapters together stay above the text",
            Side("pt-rag", text=step, adapters=step), Side("t-rag", text=step), metric, f"PT-RAG less T-RAG, {step}",
        )  # fmt: skip
    yield Claim(
        "With noise in place of every passage, adapters alone fall to the closed book and not below",
        Side("p-rag", adapters="replace-all"), _VANILLA, metric, "P-RAG with replace-all less vanilla",
    )  # fmt: skip
    yield Claim(
        "Noise in the text costs PT-RAG more than noise in the adapters",
        Side("pt-rag", adapters="replace-all"), Side("pt-rag", text="replace-all"), metric,
        "PT-RAG, replace-all in the adapters less in the text",
    )  # fmt: skip
    yield Claim(
        "Text and adapters together follow a contradicting passage more often than the text",
        _PT, _T, "ps", "Ps of PT-RAG less T-RAG",
    )  # fmt: skip
    yield Claim(
        "Adapters alone follow a contradicting passage less often than the text", _T, _P, "ps", "Ps of T-RAG less P-RAG"
    )
    yield Claim(
        "Text and adapters together fall back on memory less often than the text",
        _T, _PT, "mr", "MR of T-RAG less PT-RAG, where both decide",
    )  # fmt: skip


def findings(cells: Sequence[Cell], metric: str = "has_answer") -> list[Finding]:
    """Returns every finding that the cells have both sides of."""
    if not cells:
        return []
    usual = Counter(str(cell.configuration.get("recipe_name")) for cell in cells if _recipe(cell) != _PAPER)
    recipe = usual.most_common(1)[0][0] if usual else _PAPER
    found = []
    for claim in claims(metric):
        pool = _contradicting(cells) if claim.metric in ("ps", "mr") else list(cells)
        pairs = list(_pairs(pool, claim, recipe))
        if pairs:
            other, one = zip(*pairs, strict=True)
            found.append(
                Finding(claim.claim, f"{claim.measured}, {claim.metric}", paired_difference(other, one), "points")
            )
    bias = list(_bias(cells, recipe))
    if bias and metric == "has_answer":
        told = "F1 less HasAnswer, of P-RAG less T-RAG"
        change = paired_difference([0.0] * len(bias), bias)
        found.append(
            Finding("F1 favours the short answers of adapters, HasAnswer the long ones", told, change, "points")
        )
    return found


def _recipe(cell: Cell) -> str:
    return str(cell.configuration.get("recipe_name"))


def _is(cell: Cell, side: Side, recipe: str) -> bool:
    wanted = {name: getattr(side, name) for name in _CONDITIONS}
    own = {name: cell.configuration.get(name) or None for name in _CONDITIONS}
    return cell.mode == side.mode and own == wanted and _recipe(cell) == (side.recipe or recipe)


def _pairs(cells: Sequence[Cell], claim: Claim, recipe: str) -> Iterator[tuple[float, float]]:
    """Scores of (other, one) on every question that both sides have a score for."""
    for one in (cell for cell in cells if _is(cell, claim.one, recipe)):
        for other in (cell for cell in cells if _is(cell, claim.other, recipe) and _comparable(one, cell)):
            known = {sample.id: sample.metrics.get(claim.metric) for sample in other.samples}
            for sample in one.samples:
                mine, theirs = sample.metrics.get(claim.metric), known.get(sample.id)
                if mine is not None and theirs is not None:
                    yield theirs, mine
            break  # cells that differ in nothing that is told apart here would count questions twice


def _bias(cells: Sequence[Cell], recipe: str) -> Iterator[float]:
    """By how much more F1 than HasAnswer prefers P-RAG to T-RAG, question by question."""
    for one in (cell for cell in cells if _is(cell, _P, recipe)):
        for other in (cell for cell in cells if _is(cell, _T, recipe) and _comparable(one, cell)):
            known = {sample.id: sample.metrics for sample in other.samples}
            for sample in one.samples:
                scores = [known.get(sample.id, {}).get(name) for name in ("f1", "has_answer")]
                own = [sample.metrics.get(name) for name in ("f1", "has_answer")]
                numbers = [value for value in (*own, *scores) if value is not None]
                if len(numbers) == 4:
                    yield (numbers[0] - numbers[2]) - (numbers[1] - numbers[3])
            break


def _comparable(one: Cell, other: Cell) -> bool:
    same = all(one.configuration.get(name) == other.configuration.get(name) for name in _SHARED)
    return same and one.data == other.data and len(one.samples) == len(other.samples)


def _contradicting(cells: Sequence[Cell]) -> list[Cell]:
    """The cells whose passages contradict something; of a set that also gives passages that do not, only the former."""
    apart = {cell.data for cell in cells if cell.configuration.get("given") == "counterfactual"}
    return [cell for cell in cells if cell.data not in apart or cell.configuration.get("given") == "counterfactual"]
