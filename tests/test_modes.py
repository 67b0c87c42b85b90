"""What the modes are, and what can change the answers of each."""

from __future__ import annotations

import pytest

from paramrag.modes import MODES, Mode
from paramrag.report.cells import _felt

SETTINGS = {"text": "noise", "adapters": "shuffled", "weighting": "score", "recipe": "r", "aggregator": "ties"}


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda mode: mode.name)
def test_a_report_knows_what_reaches_a_mode(mode: Mode) -> None:
    felt = set(_felt(SETTINGS, mode.name))
    assert ("text" in felt) == mode.text
    assert ("adapters" in felt) == ("aggregator" in felt) == mode.weights
    assert ("weighting" in felt) == ("recipe" in felt) == (mode.weights or mode.apart)


def test_every_mode_but_the_model_alone_has_a_late_form() -> None:
    for name, mode in MODES.items():
        assert mode.name == name
        assert mode.apart == name.endswith("-late")
        assert mode.apart or name == "vanilla" or f"{name}-late" in MODES
