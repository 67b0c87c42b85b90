"""Adapters to and from PEFT directories, as vLLM, SGLang and `PeftModel.from_pretrained` read them.

`adapter_config.json` and `adapter_model.safetensors` follow PEFT's LoRA checkpoint format
(https://huggingface.co/docs/peft/developer_guides/checkpoint); what PEFT has no key for stands in `paramrag.json`.
PEFT and the servers apply an adapter to every token: an adapter trained for activation `answer` is used there in
`full`, and `paramrag.json` says which it was made for.

Shapes: r rank, k adapters, P numbers in a row. A stored B is the transpose of PEFT's [out, r].
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CollectionError, ConfigError, MismatchError
from ..types import Adapter
from .layout import AdapterLayout

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` of vLLM may be (vllm/config/lora.py)."""
_KEY = "base_model.model.model.layers.{layer}.mlp.{module}.lora_{factor}.weight"
_KEY_PATTERN = re.compile(
    r"base_model\.model\.model\.layers\.(\d+)\.mlp\.(gate_proj|up_proj|down_proj)\.lora_(A|B)\.weight"
)


def export_peft(
    adapters: Sequence[Adapter],
    directory: str | Path,
    *,
    base_name: str,
    layer_count: int | None = None,
    weights: Sequence[float] | None = None,
    activation: str = "full",
    for_vllm: bool = False,
) -> Path:
    """Writes one adapter, or the weighted sum of several, as a PEFT directory.

    Several are joined along the rank, which is their exact sum: rank k * r, lora_alpha = k * alpha (so that alpha / r
    stays), weights folded into B.

    Args:
        adapters: one or more of one base, recipe and layout.
        directory: where to; must not exist, or be empty. It appears complete or not at all.
        base_name: hub id or folder of the base model, for `base_model_name_or_path`.
        layer_count: layers of the base model, if known: adapters in all of them are then written without a list.
        weights: one per adapter; 1 each if left out.
        activation: what the adapters were trained for; recorded, not enforced.
        for_vllm: pad the rank with zeros to one that vLLM allows.

    Raises:
        ConfigError: no adapter, wrong number of weights, a rank beyond vLLM's largest.
        MismatchError: adapters of different bases, recipes or layouts.
        CollectionError: the directory is not empty, or cannot be written.
    """
    weights = [1.0] * len(adapters) if weights is None else list(weights)
    check_joinable(adapters, weights)
    layout = adapters[0].layout
    rank = len(adapters) * layout.rank
    alpha = len(adapters) * layout.alpha
    if for_vllm:
        allowed = [option for option in VLLM_RANKS if option >= rank]
        if not allowed:
            raise ConfigError(
                f"{len(adapters)} adapters have rank {rank}; vLLM allows up to {VLLM_RANKS[-1]}: join fewer"
            )
        alpha, rank = alpha * allowed[0] / rank, allowed[0]
    tensors = {
        _KEY.format(layer=layer, module=module, factor=factor): block
        for (layer, module, factor), block in joined(adapters, weights, rank).items()
    }
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "lora_dropout": 0.0,
        "target_modules": [module.name for module in layout.modules],
        "bias": "none",
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
        "inference_mode": True,
    }
    if layer_count is None or layout.layers != tuple(range(layer_count)):
        config["layers_to_transform"] = list(layout.layers)
    sidecar = {
        "format": "paramrag-peft",
        "version": 1,
        "adapters": [
            {"passage_id": adapter.key.passage_id, "weight": weight}
            for adapter, weight in zip(adapters, weights, strict=True)
        ],
        "base": adapters[0].key.base,
        "recipe": adapters[0].key.recipe,
        "activation": activation,
        "note": "PEFT, vLLM and SGLang apply this adapter to every token (activation full).",
    }
    return _write(Path(directory), config, sidecar, tensors)


def import_peft(directory: str | Path, layout: AdapterLayout, *, alpha: float | None = None) -> np.ndarray:
    """Reads a PEFT directory into a row of the given layout, float32 [P].

    The scale alpha / r of the directory is kept: where it is not the layout's, the difference is folded into B.

    Args:
        directory: with `adapter_config.json` and `adapter_model.safetensors`.
        layout: what to read it as: same rank, modules and layers.
        alpha: what to take for `lora_alpha` instead of what the file says. The file is wrong for adapters of DyPRAG,
            which are applied without alpha / r (give r), and of doc-to-lora, whose scale is lora_alpha itself (give
            lora_alpha * r).

    Raises:
        CollectionError: no such directory, or files that cannot be read.
        MismatchError: other rank, modules, layers or widths, or a kind of adapter that a row cannot hold.
    """
    directory = Path(directory)
    config, tensors = _read(directory)
    _check_import(directory, config, tensors, layout)
    given = float(config["lora_alpha"]) if alpha is None else alpha
    # Rank-stabilised LoRA (arXiv 2312.03732) scales by alpha / sqrt(r).
    scale = given / (layout.rank**0.5 if config.get("use_rslora") else layout.rank)
    row = np.zeros(layout.size, dtype=np.float32)
    for module, (a_LRI, b_LRO) in layout.views(row).items():
        for place, layer in enumerate(layout.layers):
            a_LRI[place] = tensors[_KEY.format(layer=layer, module=module, factor="A")]
            b_LRO[place] = tensors[_KEY.format(layer=layer, module=module, factor="B")].T * (scale / layout.scale)
    return row


def check_joinable(adapters: Sequence[Adapter], weights: Sequence[float]) -> None:
    """Refuses adapters that have no sum: none, of several bases or recipes, or without a weight each."""
    if not adapters:
        raise ConfigError("nothing to export: expected at least one adapter")
    if len(weights) != len(adapters):
        raise ConfigError(f"{len(adapters)} adapters, but {len(weights)} weights; expected one each")
    first = adapters[0]
    for adapter in adapters[1:]:
        if (adapter.key.base, adapter.key.recipe) != (
            first.key.base,
            first.key.recipe,
        ) or adapter.layout != first.layout:
            raise MismatchError(
                f"adapter of passage {adapter.key.passage_id!r} is of base {adapter.key.base!r} and recipe "
                f"{adapter.key.recipe!r}, that of {first.key.passage_id!r} of base {first.key.base!r} and recipe "
                f"{first.key.recipe!r}: only adapters of one base and recipe can be joined"
            )


def joined(adapters: Sequence[Adapter], weights: Sequence[float], rank: int) -> dict[tuple[int, str, str], np.ndarray]:
    """Returns the weighted sum of adapters as factors of one: (layer, module, "A") -> [rank, in], "B" -> [out, rank].

    Weights are folded into B; ranks beyond those of the adapters are zeros.
    """
    layout = adapters[0].layout
    views = layout.views(np.stack([adapter.row for adapter in adapters]))
    weights_k111 = np.asarray(weights, dtype=np.float32)[:, None, None, None]
    found: dict[tuple[int, str, str], np.ndarray] = {}
    for module, (a_kLRI, b_kLRO) in views.items():
        for factor, stacked in (("A", a_kLRI), ("B", b_kLRO * weights_k111)):
            side_by_side = np.concatenate(list(stacked), axis=1)
            padded = np.zeros((side_by_side.shape[0], rank, side_by_side.shape[2]), dtype=np.float32)
            padded[:, : side_by_side.shape[1]] = side_by_side
            for layer, block in zip(layout.layers, padded, strict=True):
                found[layer, module, factor] = np.ascontiguousarray(block if factor == "A" else block.T)
    return found


def _write(
    directory: Path, config: Mapping[str, Any], sidecar: Mapping[str, Any], tensors: dict[str, np.ndarray]
) -> Path:
    from safetensors.numpy import save_file

    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CollectionError(f"{directory} exists and is not an empty directory; expected a new one to export to")
    temporary: Path | None = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=".new-"))
        temporary.chmod(0o755)  # mkdtemp makes it private, but a server of another user may have to read it
        (temporary / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        (temporary / "paramrag.json").write_text(json.dumps(sidecar, indent=2), encoding="utf-8")
        save_file(tensors, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
        os.replace(temporary, directory)
    except OSError as error:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        raise CollectionError(f"cannot export to {directory}: {error}") from error
    return directory


def _read(directory: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = load_file(directory / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CollectionError(
            f"{directory} cannot be read as a PEFT directory: {error}; "
            "expected adapter_config.json and adapter_model.safetensors"
        ) from error
    return config, {key: np.asarray(value, dtype=np.float32) for key, value in tensors.items()}


def _check_import(
    directory: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], layout: AdapterLayout
) -> None:
    if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("bias", "none") != "none":
        raise MismatchError(f"{directory} holds no plain LoRA adapter (peft_type LORA, no DoRA, bias none)")
    if config.get("modules_to_save") or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise MismatchError(f"{directory} saves whole modules or has ranks that differ; expected one rank throughout")
    if config.get("r") != layout.rank:
        raise MismatchError(f"{directory} has rank {config.get('r')}, the layout {layout.rank}")
    foreign = sorted(key for key in tensors if not _KEY_PATTERN.fullmatch(key))
    if foreign:
        raise MismatchError(f"{directory} adapts {foreign[0]!r}; expected only gate_proj, up_proj and down_proj of mlp")
    expected: dict[str, tuple[int, int]] = {}
    for module in layout.modules:
        for layer in layout.layers:
            expected[_KEY.format(layer=layer, module=module.name, factor="A")] = (layout.rank, module.in_features)
            expected[_KEY.format(layer=layer, module=module.name, factor="B")] = (module.out_features, layout.rank)
    different = sorted(set(expected) ^ set(tensors))
    if different:
        where = "lacks" if different[0] in expected else "has beyond the layout"
        raise MismatchError(f"{directory} {where} {different[0]!r}: its modules or layers are not the layout's")
    for key, shape in expected.items():
        if tensors[key].shape != shape:
            raise MismatchError(f"{directory}: {key} has shape {list(tensors[key].shape)}, the layout {list(shape)}")
    if not isinstance(config.get("lora_alpha"), int | float):
        raise MismatchError(f"{directory} has lora_alpha {config.get('lora_alpha')!r}; expected a number")
