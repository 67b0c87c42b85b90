"""`paramrag doctor`: what this machine offers, and whether a model runs on it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

from ..errors import ConfigError
from . import options
from .console import console, emit, facts, size
from .outcome import PARTLY

_PACKAGES = ("transformers", "pylance", "pyarrow", "numpy", "safetensors", "gguf")
_MATMUL_WIDTH = 1024
_MATMUL_SECONDS = 1.0
_SENTENCE = "The tower on the northern shore was designed by a woman who had never seen the sea. " * 8


def run(
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Show versions, hardware, caches and speed. Exit code 1 where a check fails."""
    import torch

    from .. import __version__
    from ..models import bundled_models
    from ..models.cache import cache_folder

    folder = cache_folder()
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    cached = [entry.name for entry in bundled_models() if entry.cached]
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found: dict[str, Any] = {
        "paramrag": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "cuda": gpus,
        "packages": {name: _version(name) for name in _PACKAGES},
        "cache": str(folder),
        "cache_free_bytes": free,
        "models_cached": cached,
        "gflops": round(_gflops(device), 1),
        "model": _check_model(model, device, cached),
    }
    if json:
        emit(found)
    else:
        _show(found)
    if found["model"]["ok"] is False:
        raise typer.Exit(PARTLY)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _gflops(device: str) -> float:
    """Measures float32 matrix products for a second: 10^9 operations per second."""
    import torch

    try:
        a, b = (torch.randn(_MATMUL_WIDTH, _MATMUL_WIDTH, device=device) for _ in range(2))
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {device!r} cannot be used: {reason}; expected one such as cpu or cuda:0") from error
    float((a @ b).sum())  # the first product pays for the set-up
    products, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < _MATMUL_SECONDS:
        float((a @ b)[0, 0])  # reading a number waits for the device
        products += 1
    return products * 2 * _MATMUL_WIDTH**3 / seconds / 1e9


def _check_model(model: str, device: str, cached: list[str]) -> dict[str, Any]:
    """Loads a model that is here and reads a sentence with it; one that would have to be fetched is left alone."""
    import torch

    from ..errors import ParamRAGError
    from ..infer import Engine

    if model not in cached and not Path(model).expanduser().exists():
        return {"name": model, "ok": None, "advice": f"not on this machine yet; `paramrag models pull {model}`"}
    try:
        started = time.perf_counter()
        engine = Engine(model, device=device)
        loaded = time.perf_counter()
        engine.logits(_SENTENCE)  # the first pass pays for the set-up
        warm = time.perf_counter()
        logits_TV = engine.logits(_SENTENCE)
        seconds = time.perf_counter() - warm
    except (ParamRAGError, RuntimeError) as error:  # torch raises RuntimeError for what a device cannot do
        return {"name": model, "ok": False, "advice": str(error)}
    return {
        "name": model,
        "ok": bool(torch.isfinite(logits_TV).all()),
        "fingerprint": engine.fingerprint,
        "dtype": str(engine.base.dtype).removeprefix("torch."),
        "load_seconds": round(loaded - started, 2),
        "tokens_per_second": round(len(logits_TV) / seconds, 1),
    }


def _show(found: dict[str, Any]) -> None:
    model = found["model"]
    if model["ok"]:
        state = (
            f"{model['name']} works: loaded in {model['load_seconds']:.1f} s, reads "
            f"{model['tokens_per_second']:,.0f} tokens/s in {model['dtype']}"
        )
    elif model["ok"] is None:
        state = f"{model['name']}: {model['advice']}"
    else:
        state = f"{model['name']} FAILS: {model.get('advice', 'its logits are not finite; fetch it again')}"
    cores = f"{found['cores']} cores, torch uses {found['threads']}"
    rows = {
        "paramrag": found["paramrag"],
        "python": f"{found['python']} ({sys.executable})",
        "platform": found["platform"],
        "torch": f"{found['torch']}, {cores}",
        "cuda": ", ".join(found["cuda"]) or "none; everything runs on the CPU",
        "packages": ", ".join(f"{name} {version}" for name, version in found["packages"].items()),
        "cache": f"{found['cache']} ({size(found['cache_free_bytes'])} free on its disk)",
        "models here": ", ".join(found["models_cached"]) or "none",
        "matrix product": f"{found['gflops']:,.1f} GFLOP/s in float32",
        "model": state,
    }
    console().print(facts(rows))
