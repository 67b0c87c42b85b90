"""Adapters as GGUF files: read back, they are the same update, named and scaled as llama.cpp takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from paramrag.errors import CollectionError, ConfigError
from paramrag.store.gguf import export_gguf
from paramrag.store.layout import AdapterLayout
from paramrag.types import Adapter, AdapterKey, ModuleShape

LAYOUT = AdapterLayout((1, 2), (ModuleShape("gate_proj", 16, 24), ModuleShape("down_proj", 24, 16)), 2, 32.0)
NAMES = {"gate_proj": "ffn_gate", "down_proj": "ffn_down"}


def adapter(number: int) -> Adapter:
    row = np.random.default_rng(number).normal(0, 0.1, LAYOUT.size).astype(np.float32)
    return Adapter(AdapterKey(f"p{number}", "b", "r"), row, LAYOUT)


@pytest.mark.parametrize("weights", [[1.0], [0.5, -2.0], [0.7, 0.0, 0.05]])
def test_the_file_holds_the_weighted_sum(tmp_path: Path, weights: list[float]) -> None:
    adapters = [adapter(number) for number in range(len(weights))]
    file = export_gguf(adapters, tmp_path / "new" / "a.gguf", architecture="llama", weights=weights)
    reader = GGUFReader(file)
    said = {name: reader.fields[name].contents() for name in ("general.architecture", "general.type", "adapter.type")}
    assert said == {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    alpha = reader.fields["adapter.lora.alpha"].contents()
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    assert len(tensors) == 2 * 2 * 2
    for module, name in NAMES.items():
        for place, layer in enumerate(LAYOUT.layers):
            a, b = (tensors[f"blk.{layer}.{name}.weight.lora_{factor}"] for factor in "ab")
            update = alpha / a.shape[0] * b @ a  # as llama.cpp applies it
            wanted = np.zeros_like(update)
            for one, weight in zip(adapters, weights, strict=True):
                own_a, own_b = (part[place] for part in LAYOUT.views(one.row)[module])
                wanted += weight * LAYOUT.scale * own_b.T @ own_a
            np.testing.assert_allclose(update, wanted, atol=1e-6)


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    export_gguf([adapter(0)], tmp_path / "a.gguf", architecture="qwen2")
    before = (tmp_path / "a.gguf").read_bytes()
    with pytest.raises(CollectionError, match="exists; expected a new file"):
        export_gguf([adapter(1)], tmp_path / "a.gguf", architecture="qwen2")
    with pytest.raises(ConfigError, match="at least one adapter"):
        export_gguf([], tmp_path / "b.gguf", architecture="qwen2")
    assert (tmp_path / "a.gguf").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.gguf"]
