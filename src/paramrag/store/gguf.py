"""Adapters as GGUF files, as llama.cpp's server loads them with `--lora` and scales them request by request.

The format is that of llama.cpp's convert_lora_to_gguf.py: https://github.com/ggml-org/llama.cpp. llama.cpp applies an
adapter to every token (activation full). Knows nothing of models: the caller says the base's architecture.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import CollectionError
from ..types import Adapter
from .peft import check_joinable, joined

_NAMES = {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}


def export_gguf(
    adapters: Sequence[Adapter], file: str | Path, *, architecture: str, weights: Sequence[float] | None = None
) -> Path:
    """Writes one adapter, or the weighted sum of several, as one GGUF file.

    Args:
        adapters: one or more of one base, recipe and layout.
        file: where to; must not exist. It appears complete or not at all.
        architecture: what the base model's own GGUF file calls it: `llama`, `qwen2`, ...
        weights: one per adapter; 1 each if left out.

    Raises:
        ConfigError: no adapter, or a wrong number of weights.
        MismatchError: adapters of different bases, recipes or layouts.
        CollectionError: the file exists, or cannot be written.
    """
    from gguf import GGUFWriter

    weights = [1.0] * len(adapters) if weights is None else list(weights)
    check_joinable(adapters, weights)
    file = Path(file)
    if file.exists():
        raise CollectionError(f"{file} exists; expected a new file to export to")
    layout, count = adapters[0].layout, len(adapters)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".new-") as folder:
            writer = GGUFWriter(Path(folder) / "adapter.gguf", architecture)
            writer.add_type("adapter")
            writer.add_string("adapter.type", "lora")
            writer.add_float32("adapter.lora.alpha", count * layout.alpha)  # llama.cpp scales by alpha / rank
            for (layer, module, factor), block in joined(adapters, weights, count * layout.rank).items():
                writer.add_tensor(f"blk.{layer}.{_NAMES[module]}.weight.lora_{factor.lower()}", block)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            os.replace(Path(folder) / "adapter.gguf", file)
    except OSError as error:
        raise CollectionError(f"cannot export to {file}: {error}") from error
    return file
