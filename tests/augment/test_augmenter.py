from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from paramrag.augment import Augmenter, Rules, augmenter
from paramrag.augment.openai import OpenAI
from paramrag.augment.precomputed import Precomputed
from paramrag.errors import ConfigError


def test_names() -> None:
    assert isinstance(augmenter("auto"), Rules)
    rules = augmenter("rules", questions=5, rewrites=1, seed=3)
    assert rules.id == Rules(questions=5, rewrites=1, seed=3).id
    assert isinstance(rules, Augmenter)
    endpoint = augmenter("openai:org/model:free", base_url="http://localhost:1/v1")
    assert isinstance(endpoint, OpenAI)
    assert "org/model:free" in endpoint.id


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text("", encoding="utf-8")
    assert isinstance(augmenter(f"items:{path}"), Precomputed)
    assert augmenter(str(path)).id == augmenter(f"items:{path}").id


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rule", "did you mean 'rules'"),
        ("", "unknown augmenter ''"),
        ("model", "needs an engine"),
        ("openai:", "names no model"),
        ("items", "items:FILE"),
        ("items:none.jsonl", "not found"),
    ],
)
def test_what_cannot_be_made_is_explained(
    spec: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"augmenter|items") as caught:
        augmenter(spec)
    assert message in str(caught.value)


def test_importing_the_room_loads_no_model_library() -> None:
    heavy = "('torch', 'transformers', 'httpx', 'lancedb')"
    code = f"import sys, paramrag.augment; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
