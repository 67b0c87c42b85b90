"""Identifies a base model: two models with one fingerprint answer alike, so their adapters are interchangeable.

The fingerprint is a SHA-256 over every weight, the settings that decide what the network computes, and the tokenizer.
Weights are hashed as float32 values under their names, so file names, shards, 16- or 32-bit storage of the
same values, and the dtype and device a model is loaded with make no difference. Hashing runs once per folder; the
result is remembered in the cache by the files' names, sizes and modification times. Limits: an edit that keeps size
and modification time goes unseen until the cache is cleared, and a merge rule of the tokenizer that changes neither
its vocabulary nor the probe text below is not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..errors import ModelError
from ..types import content_hash
from .cache import file_stamp, remembered

_VERSION = 1
_LENGTH = 16

# What decides the computation. Everything else in a config (dtype, paths, versions, cache flags) does not.
_SETTINGS = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "tie_word_embeddings"),
    *("num_attention_heads", "num_key_value_heads", "head_dim", "attention_bias", "mlp_bias"),
    *("hidden_act", "hidden_activation", "rms_norm_eps", "layer_norm_eps"),
    *("rope_parameters", "max_position_embeddings"),
    *("layer_types", "sliding_window", "use_sliding_window", "max_window_layers"),
    *("attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar"),
)

# Tokenizers that differ at all tend to differ here: spaces, digits, contractions, case, scripts, special tokens
_PROBE = (
    " The Zorbik Tower (est. 1889) cost 1,234.56 francs; wasn't it Ångström's?  We'LL see: don’t\u00a0ask…"
    "\n\n1. item\n\n  2) x\r\n\tdef f(x):    return x**2 if x>=10 else -3e-7  # naïve\n\n\n"
    "東京タワー, Владивосток, القاهرة, हिन्दी, ﬁne 🗼 antidisestablishmentarianism HTTPServerError2 "
    "http://a.b/c?d=e&f=%20 <s></s><|im_start|>user<|im_end|><unk>[INST] \u200b end "
)


def fingerprint_model(model: Any, tokenizer: Any) -> str:
    """Returns the fingerprint of a loaded model; equal to that of its folder if no precision was lost in loading."""
    return _fingerprint(model.config, tokenizer, model.state_dict().items())


def fingerprint_folder(folder: Path, config: Any, tokenizer: Any) -> str:
    """Returns the fingerprint of the model stored in `folder`, 16 hex digits, from the cache where nothing changed.

    Args:
        folder: holds the weights, as safetensors or as pickled `pytorch_model*.bin`.
        config: its configuration, as transformers loaded it.
        tokenizer: its tokenizer, loaded.
    """
    stamp = content_hash(f"fingerprint {_VERSION}", *(file_stamp(path) for path in sorted(folder.iterdir())))
    return remembered(folder, stamp, lambda: _fingerprint(config, tokenizer, _stored(folder)))


def _fingerprint(config: Any, tokenizer: Any, tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    text_config = config.get_text_config()
    settings = {name: _plain(getattr(text_config, name, None)) for name in _SETTINGS}
    settings["head_dim"] = settings["head_dim"] or text_config.hidden_size // text_config.num_attention_heads
    hashes = {name: _tensor_hash(tensor) for name, tensor in tensors}
    if text_config.tie_word_embeddings:
        hashes.pop("lm_head.weight", None)  # some folders store the tied matrix twice, and loading ignores the second
    return content_hash(
        f"paramrag base {_VERSION}",
        json.dumps(settings, sort_keys=True),
        _tokenizer_hash(tokenizer),
        json.dumps(sorted(hashes.items())),
        length=_LENGTH,
    )


def _tensor_hash(tensor: torch.Tensor) -> str:
    value = tensor.detach().cpu()
    if value.is_floating_point():
        value = value.to(torch.float32)
    digest = hashlib.sha256(f"{list(value.shape)} {value.dtype}".encode())
    digest.update(value.reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Returns a setting as JSON knows it; 1e-05 that went through 16 or 32 bits is 1e-05 again."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _tokenizer_hash(tokenizer: Any) -> str:
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1]))
    template = json.dumps(tokenizer.chat_template)
    ends = repr((tokenizer.bos_token_id, tokenizer.eos_token_id))
    return content_hash(vocabulary, template, ends, repr(tokenizer(_PROBE).input_ids))


def _stored(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields (name, tensor) for every tensor that transformers would load, one file after the other."""
    for file in _weight_files(folder):
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as handle:
                for name in handle.keys():  # noqa: SIM118  (not a mapping)
                    yield name, handle.get_tensor(name)
        else:
            yield from torch.load(file, map_location="cpu", weights_only=True, mmap=True).items()


def _weight_files(folder: Path) -> list[Path]:
    """Returns the files that hold the weights; a folder may hold the same weights again for other programs."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}.index.json").is_file():
            places = json.loads(index.read_text("utf-8"))["weight_map"]
            return [folder / file for file in sorted(set(places.values()))]
    raise ModelError(f"folder {str(folder)!r} holds no weights; expected model.safetensors or pytorch_model.bin")
