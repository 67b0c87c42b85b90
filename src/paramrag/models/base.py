"""Loads a frozen base model by name: the one entry to everything that needs weights.

A name is a bundled model, a folder, a `.gguf` file or a hub id, tried in this order. Knows nothing of adapters: the
weights are loaded, never changed.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from .. import errors
from ..types import ModuleShape, Progress
from . import bundled, gguf
from .ffn import feed_forward
from .fingerprint import fingerprint_folder, fingerprint_model

_DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A frozen causal language model, ready for inference and for injections into its feed-forward layers."""

    name: str
    """As the user gave it."""
    model: Any
    """The transformers model: in eval mode, no parameter requires a gradient."""
    tokenizer: Any
    """Its tokenizer."""
    fingerprint: str
    """Identifies weights and tokenizer, 16 hex digits; see `fingerprint`."""
    ffn: tuple[dict[str, nn.Linear], ...]
    """Per decoder layer: module name -> linear projection."""
    shapes: tuple[ModuleShape, ...]
    """Shapes of `gate_proj`, `up_proj` and `down_proj`, in this order, the same in every layer."""
    layer_count: int
    """How many decoder layers there are."""
    device: torch.device
    """Where the weights are."""
    dtype: torch.dtype
    """What they are computed in."""
    reloadable: bool
    """Whether `load_base` gives the same model for this name: not for one that was made in memory."""

    @property
    def decoder(self) -> Any:
        """The model without its head: embeddings, decoder layers (`.layers`) and final norm (`.norm`)."""
        return self.model.get_decoder()

    def twin(self) -> BaseModel:
        """Returns the same model with modules of its own, for another thread; the weights are shared, not copied.

        Hooks, and so injections and training, are on modules: those of a twin are not felt here.
        """
        shared = {id(tensor): tensor for tensor in (*self.model.parameters(), *self.model.buffers())}
        model = copy.deepcopy(self.model, shared)
        return replace(self, model=model, ffn=feed_forward(model, self.name)[0])

    def head(self, states: torch.Tensor, *, tokens: torch.Tensor | None = None, normed: bool = False) -> torch.Tensor:
        """Returns logits [..., V] of the last layer's output [..., D]: final norm, output embedding, soft cap.

        Args:
            states: output of the last layer, or of the final norm with `normed`.
            tokens: only of these, int64 [K]; gives [..., K].
        """
        embedding = self.model.get_output_embeddings()
        states = states if normed else self.decoder.norm(states)
        logits: torch.Tensor
        if tokens is None:
            logits = embedding(states)
        else:
            bias = None if embedding.bias is None else embedding.bias[tokens]
            logits = nn.functional.linear(states, embedding.weight[tokens], bias)
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)


def load_base(
    name: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    progress: Progress | None = None,
) -> BaseModel:
    """Loads a base model with its tokenizer and finds its feed-forward projections.

    Args:
        name: a bundled name (see `bundled_models`), a model folder, a `.gguf` file, or a hub id such as
            `Qwen/Qwen2.5-1.5B-Instruct`. A folder that has a bundled model's name is given as `./NAME`.
        device: a torch device such as `cpu`, `cuda` or `cuda:1`.
        dtype: `fp32`, `bf16`, `fp16` or a torch dtype; None means bfloat16 on CUDA where it is supported, else
            float32.
        progress: called while a model is fetched or converted, which happens once.

    Raises:
        ModelError: the name leads nowhere, the files are not a causal language model with adaptable feed-forward
            layers, or the device or dtype is not available.
    """
    place = _device(device)
    kind = _dtype(dtype, place)
    source = _source(str(name), progress)
    model, tokenizer = _load(str(name), source, kind)
    model.to(place)
    folder = source if isinstance(source, Path) else _snapshot(source)
    return _base(str(name), model, tokenizer, lambda: fingerprint_folder(folder, model.config, tokenizer), True)


def wrap_base(model: Any, tokenizer: Any, *, name: str) -> BaseModel:
    """Makes a BaseModel of a transformers model that is already in memory; it is frozen in place.

    Raises:
        ModelError: the model has no adaptable feed-forward layers.
    """
    return _base(name, model, tokenizer, lambda: fingerprint_model(model, tokenizer), False)


def _base(name: str, model: Any, tokenizer: Any, fingerprint: Callable[[], str], reloadable: bool) -> BaseModel:
    ffn, shapes = feed_forward(model, name)  # refuses before the weights are hashed
    model.eval().requires_grad_(False)
    return BaseModel(
        name, model, tokenizer, fingerprint(), ffn, shapes, len(ffn), model.device, model.dtype, reloadable
    )


def _device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise errors.ModelError(f"unknown device {device!r}; expected one such as cpu, cuda or cuda:0") from error
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise errors.ModelError(
            f"device {device!r} is not available: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices; use device cpu, or install a CUDA build of torch"
        )
    return place


def gguf_architecture(name: str, progress: Progress | None = None) -> str:
    """Returns what GGUF files call the architecture of a base model; reads its config alone.

    Args:
        name: as of `load_base`.

    Raises:
        ModelError: no such model, or one that GGUF files are not read of.
    """
    from transformers import AutoConfig

    source = _source(name, progress)
    try:
        model_type = str(AutoConfig.from_pretrained(source).model_type)
    except (OSError, ValueError, KeyError) as error:
        raise errors.ModelError(f"the config of {name!r} cannot be read: {error}") from error
    called = {"mistral": "llama", "gemma3_text": "gemma3"}.get(model_type, model_type)
    if called not in gguf.ARCHITECTURES:
        raise errors.ModelError(
            f"{name!r} is of type {model_type!r}; expected one of {', '.join(gguf.ARCHITECTURES)} for GGUF"
        )
    return called


def _dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    if dtype is None:
        bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if bfloat16 else torch.float32
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise errors.ModelError(f"unknown dtype {dtype!r}: {errors.did_you_mean(dtype, _DTYPES)}")
    return _DTYPES[dtype]


def _source(name: str, progress: Progress | None) -> Path | str:
    """Returns the folder to load from, or the hub id."""
    if any(entry.name == name for entry in bundled.bundled_models()):
        return bundled.pull(name, progress)
    path = Path(name).expanduser()
    if path.is_file():
        return gguf.folder_of(path, progress)
    if path.is_dir():
        if not (path / "config.json").is_file():
            inside = sorted(path.glob("*.gguf"))
            hint = (
                f"give the file {str(inside[0])!r}" if inside else "expected config.json, weights and tokenizer files"
            )
            raise errors.ModelError(f"folder {name!r} holds no config.json, so it is not a model folder; {hint}")
        return path
    if path.suffix == ".gguf" or name.startswith((".", "~", os.sep)) or name.count("/") > 1:
        raise errors.ModelError(f"no file or folder {name!r}; expected a model folder or a .gguf file")
    return name


def _load(name: str, source: Path | str, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(source)
            model, loading = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        if isinstance(source, Path):
            raise errors.ModelError(
                f"{name!r} cannot be loaded from {source}: {error}; expected a folder written by save_pretrained, with "
                "config.json, safetensors weights and tokenizer files"
            ) from error
        known = errors.did_you_mean(name, [entry.name for entry in bundled.bundled_models()])
        raise errors.ModelError(
            f"model {name!r} is not on this machine and could not be loaded from the hub: {error}\n"
            f"Pull it where there is a connection (`hf download {name}`) and give the folder, give a .gguf file, or "
            f"use a bundled model: {known}"
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise errors.ModelError(
            f"{name!r} lacks {len(missing)} of the weights of a {model.config.model_type} language model, such as "
            f"{missing[0]}; its files are incomplete or belong to another kind of model, so fetch it again"
        )
    return model, tokenizer


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keeps transformers from drawing its own bars for work of half a second."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _snapshot(hub_id: str) -> Path:
    """Returns the folder in the hub's cache that a hub id was just loaded from."""
    from transformers.utils import cached_file

    return Path(cached_file(hub_id, "config.json", local_files_only=True)).parent
