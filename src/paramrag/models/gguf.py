"""Turns a `.gguf` file into a folder of safetensors that loads in a fraction of a second.

Reading a GGUF file takes 8 s for 135 million parameters, most of it the vocabulary; the converted folder loads in
half a second. The weights are those of the dequantised file, bit for bit: a tensor is stored in 16 bits only where
nothing is lost. Tensors pass through memory one shard at a time. Configuration and tokenizer are read by transformers.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Knows nothing of model names.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from ..errors import ModelError
from ..types import Progress
from .cache import build_once, cache_folder, file_stamp, remembered, require_space

_SHARD_BYTES = 512 << 20
_BLOCK_NUMBERS = 4 << 20
_CHUNK_BYTES = 16 << 20
ARCHITECTURES = ("gemma2", "gemma3", "llama", "qwen2", "qwen3")  # llama also stands for Mistral and SmolLM
_INSTEAD = "download the file again, or give the model as a folder of safetensors"


def folder_of(path: Path, progress: Progress | None = None) -> Path:
    """Returns the converted folder of a user's `.gguf` file, made on first use and found by the file's content.

    Raises:
        ModelError: the file cannot be read as a language model.
    """
    _require_gguf(path)
    content = remembered(path, file_stamp(path), lambda: _content(path, progress))
    target = cache_folder() / "models" / f"gguf-{content[:20]}"
    return build_once(target, lambda scratch: convert(path, scratch, progress))


def convert(path: Path, folder: Path, progress: Progress | None = None) -> None:
    """Writes config, tokenizer and dequantised weights of the GGUF file `path` into `folder`.

    Args:
        path: a GGUF file of one of the architectures llama, qwen2, qwen3, gemma2, gemma3.
        folder: exists; files in it are overwritten.
        progress: called as ("convert", tensors, tensors in all).

    Raises:
        ModelError: the file is damaged, of another architecture, or scales its positions in an unknown way.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    _require_gguf(path)
    if progress:
        progress("convert", 0, None)
    try:
        reader = GGUFReader(path)
        _require_architecture(path, reader)
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    except (ValueError, KeyError, IndexError, TypeError, NotImplementedError, OSError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} cannot be read as a GGUF language model: {error}; {_INSTEAD}") from error
    if _value(reader, "tokenizer.ggml.pre") == "smollm":
        # transformers keeps runs of digits and the spaces before them together, where this vocabulary was made without
        before = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(before)
    if head_dim := _value(reader, f"{_value(reader, 'general.architecture')}.attention.key_length"):
        config.head_dim = head_dim  # transformers reads it for some architectures only
    config.dtype = torch.float32
    config.rope_parameters |= _rope_scaling(path, reader)
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    require_space(folder, 4 * sum(int(tensor.n_elements) for tensor in reader.tensors), f"converting {path.name}")
    _write_weights(path, reader, config, folder, progress)


def narrowest(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the float32 tensor in bfloat16 or float16 if that keeps every value, else unchanged."""
    flat = tensor.reshape(-1)
    for dtype in (torch.bfloat16, torch.float16):
        for block in (flat[:4096], flat):  # the first values nearly always tell
            narrow = block.to(dtype)
            if not torch.equal(narrow.to(torch.float32), block):
                break
        else:
            return narrow.reshape(tensor.shape)
    return tensor


def _content(path: Path, progress: Progress | None) -> str:
    size_bytes = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            if progress:
                progress("hash", file.tell(), size_bytes)
    return digest.hexdigest()


def _require_gguf(path: Path) -> None:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file: it starts with {magic!r}, expected b'GGUF'; {_INSTEAD}")


def _require_architecture(path: Path, reader: Any) -> None:
    architecture = _value(reader, "general.architecture")
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"{path} is of architecture {architecture!r}, which is not read from GGUF; expected one of "
            f"{', '.join(ARCHITECTURES)}, or give the model as a folder of safetensors"
        )
    if _value(reader, f"{architecture}.expert_count"):
        raise ModelError(
            f"{path} routes between experts (mixture of experts), which cannot carry adapters; choose a dense model"
        )


def _value(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _rope_scaling(path: Path, reader: Any) -> dict[str, Any]:
    """Returns what the configuration must say about scaled positions, which transformers does not read from GGUF.

    Llama 3.1 and later keep the effect of their scaling as a tensor of divisors; their parameters are found again from
    its largest, and refused where they do not reproduce it.
    """
    architecture = _value(reader, "general.architecture")
    kind = _value(reader, f"{architecture}.rope.scaling.type")
    if kind not in (None, "none"):
        raise ModelError(f"{path} scales its positions ({kind}), which is not read from GGUF; {_INSTEAD}")
    divisors = next((tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight"), None)
    if divisors is None:
        return {}
    scaling = {"factor": float(divisors.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling["original_max_position_embeddings"] = original = 8192
    theta = _value(reader, f"{architecture}.rope.freq_base")
    wavelengths = 2 * math.pi * theta ** (np.arange(len(divisors)) / len(divisors))
    smooth = np.clip((original / wavelengths - 1.0) / (4.0 - 1.0), 0, 1)
    if not np.allclose(divisors, 1 / ((1 - smooth) / scaling["factor"] + smooth), rtol=1e-3):
        raise ModelError(f"{path} scales its positions in another way than Llama 3, which is not read; {_INSTEAD}")
    return {"rope_type": "llama3", **scaling}


def _write_weights(path: Path, reader: Any, config: Any, folder: Path, progress: Progress | None) -> None:
    """Dequantises tensor by tensor into shards; needs memory for one shard and one tensor."""
    names = _names(reader, config)
    known = {tensor.name: tensor for tensor in reader.tensors if tensor.name != "rope_freqs.weight"}
    if known.keys() != names.keys():
        missing, unexpected = sorted(names.keys() - known.keys()), sorted(known.keys() - names.keys())
        raise ModelError(
            f"{path} does not hold the tensors of a {config.model_type} model: missing {missing[:3]}, "
            f"unexpected {unexpected[:3]}; {_INSTEAD}"
        )
    shard: dict[str, torch.Tensor] = {}
    shards: list[list[str]] = []

    def flush() -> None:
        shards.append(list(shard))
        save_file(shard, folder / _shard_name(len(shards)), {"format": "pt"})
        shard.clear()

    for done, (gguf_name, name) in enumerate(names.items(), 1):
        if shard and sum(entry.nbytes for entry in shard.values()) + 4 * known[gguf_name].n_elements > _SHARD_BYTES:
            flush()
        shard[name] = narrowest(torch.from_numpy(_as_trained(_dequantised(known[gguf_name]), name, config)))
        if progress:
            progress("convert", done, len(names))
    flush()
    if len(shards) == 1:
        (folder / _shard_name(1)).rename(folder / "model.safetensors")
    else:
        places = {name: _shard_name(number) for number, group in enumerate(shards, 1) for name in group}
        index = {"metadata": {}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), "utf-8")


def _dequantised(tensor: Any) -> np.ndarray:
    """Returns the float32 values of a GGUF tensor; row blocks keep the intermediate arrays small."""
    from gguf import dequantize

    values = np.empty(tensor.shape[::-1], dtype=np.float32)
    rows = max(1, _BLOCK_NUMBERS * len(values) // values.size)
    for start in range(0, len(values), rows):
        values[start : start + rows] = dequantize(tensor.data[start : start + rows], tensor.tensor_type)
    return values


def _shard_name(number: int) -> str:
    return f"model-{number:05d}.safetensors"


def _names(reader: Any, config: Any) -> dict[str, str]:
    """Returns {name in the GGUF file: name in transformers} for every weight that the model needs."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from transformers import AutoModelForCausalLM

    architecture = _value(reader, "general.architecture")
    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture)
    mapping = get_tensor_name_map(arch, config.num_hidden_layers)
    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(config)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    wanted = [name for name in model.state_dict() if name not in tied]
    return {mapping.get_name(name, (".weight", ".bias")) or name: name for name in wanted}


def _as_trained(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """Undoes what the converter to GGUF changed, see convert_hf_to_gguf.py of llama.cpp."""
    if config.model_type == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        halves = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
        return np.ascontiguousarray(
            halves.swapaxes(1, 2).reshape(values.shape)
        )  # rotary pairs: neighbours there, halves here
    if config.model_type.startswith("gemma") and name.endswith("norm.weight"):
        return values - 1  # Gemma scales by 1 + weight
    return values
