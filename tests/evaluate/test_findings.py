"""Whether a claim holds is read from the interval alone."""

from __future__ import annotations

import json

import pytest

from paramrag.evaluate import Estimate
from paramrag.evaluate.findings import Finding


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.2, "holds here"),
        (-0.3, -0.01, "does not hold here"),
        (-0.1, 0.2, "cannot be told"),
        (0.0, 0.2, "cannot be told"),
        (-0.2, 0.0, "cannot be told"),
        (0.0, 0.0, "cannot be told"),
    ],
)
def test_the_whole_interval_must_be_on_one_side(low: float, high: float, verdict: str) -> None:
    found = Finding("Text helps", "T-RAG less vanilla", Estimate((low + high) / 2, low, high, 12), "points")
    assert found.verdict == verdict
    assert ("at n = 12." in found.sentence) == (verdict == "cannot be told")
    assert f"**{verdict}**" in found.sentence
    json.dumps(found.to_json(), allow_nan=False)


def test_too_few_values_tell_nothing() -> None:
    for n, verdict in ((5, "cannot be told"), (6, "holds here")):
        assert Finding("Text helps", "T-RAG less vanilla", Estimate(0.5, 0.4, 0.6, n)).verdict == verdict


def test_a_sentence_has_number_interval_unit_and_n() -> None:
    points = Finding("Text helps", "T-RAG less vanilla, has_answer", Estimate(0.123, 0.04, 0.2, 60), "points")
    assert points.sentence == (
        "Text helps: **holds here**. T-RAG less vanilla, has_answer: +12.3 [+4.0, +20.0] points, n = 60 questions."
    )
    nats = Finding("Deep", "PKS", Estimate(-0.0012, -0.002, -0.0003, 9), "nats", over="documents")
    assert nats.sentence == "Deep: **does not hold here**. PKS: -0.0012 [-0.0020, -0.0003] nats, n = 9 documents."
    assert nats.parts[1] == "does not hold here"
