"""Adapter rows to bytes and back: fp32, fp16, bf16, int8 and int4 with scales. Little-endian, numpy only.

Shapes: P numbers in a row, V vectors, G groups. A vector is one rank of one factor of one module in one layer: `in`
or `out` numbers that stand together in the row. A group is 16 neighbours of a vector, its last one what is left.

    fp32  P x float32                      exact
    fp16  P x float16                      relative error up to 2**-11; magnitudes over 65504 are refused
    bf16  P x upper half of a float32      relative error up to 2**-8, rounded to nearest even
    int8  P x int8, then V x float32       error up to half a scale; scale = max |vector| / 127
    int4  P x 4 bits, then G x bf16        squared error of a group at most that with scale = max |group| / 7

An int4 number is stored as q + 8 with -8 <= q <= 7, the earlier of two in the lower half of the byte. A group's scale
is the one of a few candidates with the least squared error; it is negative where that lets the largest number have
the -8 to itself.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..errors import CollectionError, ConfigError, MismatchError, did_you_mean
from .layout import AdapterLayout

Dtype = Literal["fp32", "fp16", "bf16", "int8", "int4"]
"""How the numbers of a stored row are written."""
GROUP = 16
"""Numbers that share a scale in int4: 5 bits a number in all."""
_DIVISORS = np.array([-8.5, -8, -7.5, -7, 7, 7.5], dtype=np.float32)
"""Scales tried: a group's largest number over each. Every number they can yield is one they yield again."""
_LARGEST_INT4 = 2.0**126  # beyond it a number, rounded up to a multiple of its scale, may leave float32


def check_dtype(dtype: str) -> None:
    """Refuses an unknown dtype with the names of the known ones."""
    if dtype not in get_args(Dtype):
        raise ConfigError(f"unknown adapter dtype {dtype!r}: {did_you_mean(dtype, get_args(Dtype))}")


def size_bytes(layout: AdapterLayout, dtype: str) -> int:
    """Returns the bytes of one stored row."""
    check_dtype(dtype)
    if dtype == "int8":
        return layout.size + 4 * _vector_count(layout)
    if dtype == "int4":
        return -(-layout.size // 2) + 2 * _group_count(layout)
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
        half = _upper_half(values)
        if ((half & 0x7F80) == 0x7F80).any():
            raise ConfigError(
                f"adapter row reaches {np.abs(values).max():g}, which bf16 rounds to infinity; store it as fp32"
            )
        return half.tobytes()
    if dtype == "int4":
        if np.abs(values).max() > _LARGEST_INT4:
            raise ConfigError(f"adapter row reaches {np.abs(values).max():g}, int4 ends at 2**126; store it as fp32")
        return _to_int4(values, layout)
    return _to_int8(values, layout)


def decode(data: bytes | memoryview, layout: AdapterLayout, dtype: str) -> np.ndarray:
    """Reads what `encode` wrote: float32 [P], a new array.

    Raises:
        CollectionError: the bytes are not of the length that layout and dtype ask for, or the dtype is not known.
    """
    if dtype not in get_args(Dtype):
        raise CollectionError(
            f"stored adapter row is of dtype {dtype!r}; this ParamRAG reads {', '.join(get_args(Dtype))}: upgrade it"
        )
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
        return _from_upper_half(np.frombuffer(data, dtype="<u2"))
    if dtype == "int4":
        return _from_int4(data, layout)
    return _from_int8(data, layout)


def _upper_half(values: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(values, dtype="<f4").view(np.uint32)
    # Adding just under half an upper unit, plus its lowest bit, rounds to nearest and ties to even.
    rounded: np.ndarray = ((bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)) >> 16).astype("<u2")
    return rounded


def _from_upper_half(half: np.ndarray) -> np.ndarray:
    return (half.astype(np.uint32) << 16).view(np.float32)


def _to_int8(values: np.ndarray, layout: AdapterLayout) -> bytes:
    whole, scales = [], []
    for block in layout.blocks():
        vectors = values[block.start : block.stop].reshape(-1, block.shape[2])
        scale = np.abs(vectors).max(axis=1) / np.float32(127)
        # A vector of zeros, or of numbers so small that the scale underflows, is stored as zeros.
        divisor = np.where(scale > 0, scale, np.float32(1))[:, None]
        whole.append(np.clip(np.rint(vectors / divisor), -127, 127).astype(np.int8).ravel())
        scales.append(scale.astype("<f4"))
    return np.concatenate(whole).tobytes() + np.concatenate(scales).tobytes()


def _from_int8(data: bytes | memoryview, layout: AdapterLayout) -> np.ndarray:
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


def _to_int4(values: np.ndarray, layout: AdapterLayout) -> bytes:
    numbers, scales = [], []
    for block in layout.blocks():
        vectors = values[block.start : block.stop].reshape(-1, block.shape[2])
        padded = _padded(vectors)
        chosen, scale = _grouped(padded.reshape(-1, GROUP))
        numbers.append(chosen.reshape(padded.shape)[:, : block.shape[2]].ravel())
        scales.append(scale)
    whole = np.concatenate([*numbers, np.zeros(layout.size % 2)]).astype(np.int8).view(np.uint8) + np.uint8(8)
    return (whole[::2] | whole[1::2] << 4).tobytes() + np.concatenate(scales).tobytes()


def _grouped(groups_GN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the whole numbers [G, N] and the scales [G], as upper halves, with the least squared error."""
    largest_G1 = np.take_along_axis(groups_GN, np.abs(groups_GN).argmax(axis=1)[:, None], axis=1)
    # Errors are compared within a group, so as parts of its largest number: squares of the numbers may leave float32.
    unit_G1 = np.where(largest_G1 == 0, np.float32(1), largest_G1)
    best_GN = np.zeros_like(groups_GN)
    least_G1 = np.full(largest_G1.shape, np.inf, dtype=np.float32)
    best_scale_G1 = np.zeros(largest_G1.shape, dtype="<u2")
    for divisor in _DIVISORS:
        half_G1 = _upper_half(largest_G1 / divisor)
        scale_G1 = _from_upper_half(half_G1)
        # A group of zeros, or of numbers so small that the scale underflows, is stored as zeros.
        scaled_GN = groups_GN / np.where(scale_G1 == 0, np.float32(np.inf), scale_G1)
        whole_GN = np.clip(np.rint(scaled_GN), -8, 7)
        error_G1 = np.square((whole_GN * scale_G1 - groups_GN) / unit_G1).sum(axis=1, keepdims=True)
        better_G1 = error_G1 < least_G1
        best_GN = np.where(better_G1, whole_GN, best_GN)
        best_scale_G1 = np.where(better_G1, half_G1, best_scale_G1)
        least_G1 = np.minimum(error_G1, least_G1)
    return best_GN, best_scale_G1[:, 0]


def _from_int4(data: bytes | memoryview, layout: AdapterLayout) -> np.ndarray:
    packed = np.frombuffer(data, dtype=np.uint8, count=-(-layout.size // 2))
    scales = _from_upper_half(np.frombuffer(data, dtype="<u2", offset=len(packed)))
    row = np.empty(2 * len(packed), dtype=np.float32)
    row[::2], row[1::2] = packed & 15, packed >> 4
    row = row[: layout.size] - np.float32(8)
    first = 0
    for block in layout.blocks():
        vectors = row[block.start : block.stop].reshape(-1, block.shape[2])
        padded = _padded(vectors)
        groups = padded.reshape(-1, GROUP)
        groups *= scales[first : first + len(groups), None]
        vectors[:] = padded[:, : block.shape[2]]
        first += len(groups)
    return row


def _padded(vectors: np.ndarray) -> np.ndarray:
    """Returns a copy of vectors [V, width], filled up with zeros to whole groups."""
    return np.pad(vectors, ((0, 0), (0, -vectors.shape[1] % GROUP)))


def _vector_count(layout: AdapterLayout) -> int:
    return 2 * len(layout.modules) * len(layout.layers) * layout.rank


def _group_count(layout: AdapterLayout) -> int:
    return sum(layers * rank * -(-width // GROUP) for _, _, _, (layers, rank, width) in layout.blocks())
