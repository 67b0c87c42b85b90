"""Turns a `.gguf` file into a folder of safetensors that loads in a fraction of a second.

Reading a GGUF file takes half a minute for 135 million parameters, most of it the vocabulary; the converted folder
takes half a second. The values are those of the dequantised file, bit for bit: a tensor is stored in 16 bits only
where nothing is lost. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Knows nothing of names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..errors import ModelError
from ..types import Progress
from .cache import build_once, cache_folder

_SHARD_BYTES = 2 << 30
_CHUNK_BYTES = 16 << 20


def folder_of(path: Path, progress: Progress | None = None) -> Path:
    """Returns the converted folder of a user's `.gguf` file, made on first use and found by the file's content.

    Raises:
        ModelError: the file cannot be read as a language model.
    """
    size_bytes = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            if progress:
                progress("hash", file.tell(), size_bytes)
    target = cache_folder() / "models" / f"gguf-{digest.hexdigest()[:20]}"
    return build_once(target, lambda scratch: convert(path, scratch, progress))


def convert(path: Path, folder: Path, progress: Progress | None = None) -> None:
    """Writes config, tokenizer and dequantised weights of the GGUF file `path` into the empty folder `folder`.

    Raises:
        ModelError: the file is damaged, or of an architecture or quantisation that cannot be read.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file: it starts with {magic!r}, expected b'GGUF'; download it again")
    if progress:
        progress("convert", 0, None)
    source: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **source)
        model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **source)
    except (ValueError, KeyError, IndexError, NotImplementedError, OSError, RuntimeError) as error:
        raise ModelError(
            f"{path} cannot be read as a language model: {error}; expected a complete GGUF file of an architecture "
            "that transformers reads (Llama, Qwen2, Qwen3, Mistral, Gemma)"
        ) from error
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights below are plain
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _save_weights(model, folder, progress)


def _save_weights(model: Any, folder: Path, progress: Progress | None) -> None:
    tied = set(model.all_tied_weights_keys)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    shards = list(_shards(tensors))
    index: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else "model.safetensors"
        save_file({name: narrowest(tensors[name]).contiguous() for name in names}, folder / file, {"format": "pt"})
        index |= dict.fromkeys(names, file)
        if progress:
            progress("convert", len(index), len(tensors))
    if len(shards) > 1:
        total_bytes = sum(tensor.nbytes for tensor in tensors.values())
        document = {"metadata": {"total_size": total_bytes}, "weight_map": index}
        (folder / "model.safetensors.index.json").write_text(json.dumps(document, indent=1), "utf-8")


def _shards(tensors: dict[str, torch.Tensor]) -> Iterator[list[str]]:
    names: list[str] = []
    size_bytes = 0
    for name, tensor in tensors.items():
        if names and size_bytes + tensor.nbytes > _SHARD_BYTES:
            yield names
            names, size_bytes = [], 0
        names.append(name)
        size_bytes += tensor.nbytes
    yield names


def narrowest(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the float32 tensor in bfloat16 or float16 if that keeps every value, else unchanged."""
    for dtype in (torch.bfloat16, torch.float16):
        narrow = tensor.to(dtype)
        if torch.equal(narrow.to(torch.float32), tensor):
            return narrow
    return tensor
