"""Adapter rows to bytes and back: fp32, fp16, bf16, int8 with scales. Little-endian, numpy only.

Shapes: P numbers in a row, V vectors. A vector is one rank of one factor of one module in one layer: `in` or `out`
numbers that stand together in the row.

    fp32  P x float32                      exact
    fp16  P x float16                      relative error up to 2**-11; magnitudes over 65504 are refused
    bf16  P x upper half of a float32      relative error up to 2**-8, rounded to nearest even
    int8  P x int8, then V x float32       error up to half a scale; scale = max |vector| / 127
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..errors import CollectionError, ConfigError, MismatchError, did_you_mean
from .layout import AdapterLayout

Dtype = Literal["fp32", "fp16", "bf16", "int8"]
"""How the numbers of a stored row are written."""


def check_dtype(dtype: str) -> None:
    """Refuses an unknown dtype with the names of the known ones."""
    if dtype not in get_args(Dtype):
        raise ConfigError(f"unknown adapter dtype {dtype!r}: {did_you_mean(dtype, get_args(Dtype))}")


def size_bytes(layout: AdapterLayout, dtype: str) -> int:
    """Returns the bytes of one stored row."""
    check_dtype(dtype)
    if dtype == "int8":
        return layout.size + 4 * _vector_count(layout)
    return layout.size * (4 if dtype == "fp32" else 2)


def encode(row: np.ndarray, layout: AdapterLayout, dtype: str) -> bytes:
    """Writes a float row [P] as bytes.

    Raises:
        MismatchError: the row does not have the layout's size.
        ConfigError: unknown dtype, or numbers that are not finite or do not fit the dtype.
    """
    check_dtype(dtype)
    if row.shape != (layout.size,):
        raise MismatchError(
            f"adapter row has shape {row.shape}, its layout [{layout.size}]: it belongs to another recipe or model"
        )
    values = np.ascontiguousarray(row, dtype="<f4")
    if not np.isfinite(values).all():
        raise ConfigError(f"adapter row holds {int((~np.isfinite(values)).sum())} numbers that are not finite")
    if dtype == "fp32":
        return values.tobytes()
    if dtype == "fp16":
        with np.errstate(over="ignore"):
            half = values.astype("<f2")
        if not np.isfinite(half).all():
            raise ConfigError(
                f"adapter row reaches {np.abs(values).max():g}, fp16 ends at 65504; store it as bf16 or fp32"
            )
        return half.tobytes()
    if dtype == "bf16":
        return _to_bf16(values)
    return _quantise(values, layout)


def decode(data: bytes | memoryview, layout: AdapterLayout, dtype: str) -> np.ndarray:
    """Reads what `encode` wrote: float32 [P], a new array.

    Raises:
        CollectionError: the bytes are not of the length that layout and dtype ask for.
    """
    expected = size_bytes(layout, dtype)
    if len(data) != expected:
        raise CollectionError(
            f"stored adapter row has {len(data)} bytes; {dtype} with {layout.size} numbers has {expected}: "
            "the row is damaged; remove its document, add it again and encode it"
        )
    if dtype == "fp32":
        return np.frombuffer(data, dtype="<f4").astype(np.float32)
    if dtype == "fp16":
        return np.frombuffer(data, dtype="<f2").astype(np.float32)
    if dtype == "bf16":
        return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    return _dequantise(data, layout)


def _to_bf16(values: np.ndarray) -> bytes:
    bits = values.view(np.uint32)
    # Adding just under half an upper unit, plus its lowest bit, rounds to nearest and ties to even.
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)) >> 16
    half = rounded.astype("<u2")
    if ((half & 0x7F80) == 0x7F80).any():
        raise ConfigError(
            f"adapter row reaches {np.abs(values).max():g}, which bf16 rounds to infinity; store it as fp32"
        )
    return half.tobytes()


def _quantise(values: np.ndarray, layout: AdapterLayout) -> bytes:
    whole, scales = [], []
    for block in layout.blocks():
        vectors = values[block.start : block.stop].reshape(-1, block.shape[2])
        scale = np.abs(vectors).max(axis=1) / np.float32(127)
        # A vector of zeros, or of numbers so small that the scale underflows, is stored as zeros.
        divisor = np.where(scale > 0, scale, np.float32(1))[:, None]
        whole.append(np.clip(np.rint(vectors / divisor), -127, 127).astype(np.int8).ravel())
        scales.append(scale.astype("<f4"))
    return np.concatenate(whole).tobytes() + np.concatenate(scales).tobytes()


def _dequantise(data: bytes | memoryview, layout: AdapterLayout) -> np.ndarray:
    whole = np.frombuffer(data, dtype=np.int8, count=layout.size)
    scales = np.frombuffer(data, dtype="<f4", offset=layout.size)
    row = np.empty(layout.size, dtype=np.float32)
    first = 0
    for block in layout.blocks():
        count = block.shape[0] * block.shape[1]
        vectors = whole[block.start : block.stop].reshape(count, block.shape[2])
        target = row[block.start : block.stop].reshape(count, block.shape[2])
        np.multiply(vectors, scales[first : first + count, None], out=target)
        first += count
    return row


def _vector_count(layout: AdapterLayout) -> int:
    return 2 * len(layout.modules) * len(layout.layers) * layout.rank
