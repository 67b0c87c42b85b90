from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paramrag.errors import CollectionError, ConfigError, MismatchError
from paramrag.store.codec import GROUP, Dtype, decode, encode, size_bytes
from paramrag.store.layout import AdapterLayout
from paramrag.types import ModuleShape

LAYOUT = AdapterLayout((0, 1), (ModuleShape("gate_proj", 5, 7), ModuleShape("down_proj", 7, 5)), 2, 32.0)
# Widths that are and are not whole groups of int4, and an odd size.
WIDE = AdapterLayout((0, 1, 4), (ModuleShape("up_proj", 32, 45), ModuleShape("down_proj", 45, 33)), 1, 32.0)
ROWS = arrays(np.float32, LAYOUT.size, elements=st.floats(-1e4, 1e4, width=32))


WIDE_ROWS = arrays(
    np.float32,
    WIDE.size,
    elements=st.floats(-(2.0**126), 2.0**126, width=32) | st.floats(-(2.0**-10), 2.0**-10, width=32),
)


def through(row: np.ndarray, dtype: str, layout: AdapterLayout = LAYOUT) -> np.ndarray:
    data = encode(row, layout, dtype)
    assert len(data) == size_bytes(layout, dtype)
    return decode(data, layout, dtype)


def groups_of(row: np.ndarray, layout: AdapterLayout) -> list[np.ndarray]:
    """The groups of int4: 16 neighbours of a vector, the last one what is left."""
    found = []
    for block in layout.blocks():
        for vector in row[block.start : block.stop].reshape(-1, block.shape[2]):
            found += [vector[at : at + GROUP] for at in range(0, len(vector), GROUP)]
    return found


@given(ROWS)
def test_fp32_is_exact(row):
    assert through(row, "fp32").tobytes() == row.tobytes()


@given(ROWS)
def test_fp16_is_numpys_rounding(row):
    np.testing.assert_array_equal(through(row, "fp16"), row.astype(np.float16).astype(np.float32))


@settings(deadline=None)
@given(arrays(np.float32, LAYOUT.size, elements=st.floats(-(2.0**126), 2.0**126, width=32)))
def test_bf16_rounds_to_nearest_even_as_torch_does(row):
    expected = torch.from_numpy(row.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(through(row, "bf16"), expected)


@given(ROWS)
def test_int8_errs_by_half_a_scale_at_most(row):
    got = through(row, "int8")
    for block in LAYOUT.blocks():
        before = row[block.start : block.stop].reshape(-1, block.shape[2])
        after = got[block.start : block.stop].reshape(-1, block.shape[2])
        bound = np.abs(before).max(axis=1, keepdims=True) / 127 / 2
        assert (np.abs(before - after) <= bound * (1 + 1e-5) + 1e-37).all()


def test_int8_scales_are_per_vector_so_a_small_vector_keeps_its_precision():
    row = np.zeros(LAYOUT.size, dtype=np.float32)
    row[:5], row[5:10] = 1000.0, np.linspace(1e-6, 1e-5, 5)
    np.testing.assert_allclose(through(row, "int8")[5:10], row[5:10], rtol=0.05)


@settings(deadline=None, max_examples=40)
@given(st.one_of(WIDE_ROWS.map(lambda row: (row, WIDE)), ROWS.map(lambda row: (row, LAYOUT))))
def test_int4_errs_no_more_than_rounding_to_sevenths_of_a_groups_largest_number(case):
    row, layout = case
    got = through(row, "int4", layout)
    assert got.dtype == np.float32
    assert got.shape == row.shape
    for before, after in zip(groups_of(row, layout), groups_of(got, layout), strict=True):
        largest = np.abs(before.astype(np.float64)).max()
        error = np.square(before.astype(np.float64) - after).sum()
        # Half a seventh each; the scale is rounded to 8 bits, and bf16 ends at 2**-133.
        assert error <= len(before) * (largest / 14 * 1.07 + 7 * 2.0**-133) ** 2


def test_int4_groups_do_not_share_scales():
    row = np.zeros(WIDE.size, dtype=np.float32)
    row[:16], row[16:32] = 1000.0, np.linspace(-1e-6, 1e-6, 16)
    got = through(row, "int4", WIDE)
    np.testing.assert_allclose(got[:16], 1000, rtol=0.01)
    np.testing.assert_allclose(got[16:32], row[16:32], atol=1e-6 / 14 * 1.01)
    assert not got[32:].any()


def test_int4_of_a_row_of_the_default_recipe_takes_at_most_an_eighth_of_a_megabyte():
    shapes = (("gate_proj", 576, 1536), ("up_proj", 576, 1536), ("down_proj", 1536, 576))
    layout = AdapterLayout(tuple(range(15, 30)), tuple(ModuleShape(*shape) for shape in shapes), 2, 32.0)
    assert layout.size == 190_080
    assert size_bytes(layout, "int4") == 118_800 <= 120_000
    row = np.random.default_rng(0).normal(0, 0.02, layout.size).astype(np.float32)
    got = through(row, "int4", layout)
    assert np.linalg.norm(got - row) / np.linalg.norm(row) < 0.075


@settings(deadline=None, max_examples=25)
@given(WIDE_ROWS)
def test_storing_int4_again_changes_nothing(row):
    once = through(row, "int4", WIDE)
    np.testing.assert_allclose(through(once, "int4", WIDE), once, rtol=1e-6, atol=2e-38)


@pytest.mark.parametrize(
    ("dtype", "data", "numbers"),
    [
        ("fp32", "0000003f000080be8fc2f53c0ad7a3bc787a253c", [0.5, -0.25, 0.03, -0.02, 0.0101]),
        ("fp16", "003800b4ae271fa52c21", [0.5, -0.25, 0.029998779, -0.020004272, 0.010101318]),
        ("bf16", "003f80bef63ca4bc253c", [0.5, -0.25, 0.030029297, -0.020019531, 0.010070801]),
        ("int8", "7fc07fab2b0402813bf3b17739", [0.5, -0.2519685, 0.03, -0.020078739, 0.01015748]),
        ("int4", "c0d08580bd76bb", [0.5, -0.25, 0.030029297, -0.01876831, 0.011260986]),
    ],
)
def test_what_was_once_stored_is_always_read_the_same(dtype, data, numbers):
    layout = AdapterLayout((3,), (ModuleShape("up_proj", 2, 3),), 1, 2.0)
    np.testing.assert_allclose(decode(bytes.fromhex(data), layout, dtype), numbers, rtol=1e-6)


def test_a_dtype_of_a_newer_version_says_so():
    with pytest.raises(CollectionError, match=r"dtype 'int2'.*upgrade"):
        decode(b"", LAYOUT, "int2")


@settings(deadline=None)
@given(ROWS, st.sampled_from(["fp16", "bf16", "int8", "int4"]))
def test_storing_what_was_read_changes_nothing(row, dtype):
    once = through(row, dtype)
    np.testing.assert_allclose(through(once, dtype), once, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("dtype", get_args(Dtype))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(dtype, bad):
    row = np.zeros(LAYOUT.size, dtype=np.float32)
    row[3] = bad
    with pytest.raises(ConfigError, match="not finite"):
        encode(row, LAYOUT, dtype)


@pytest.mark.parametrize(("dtype", "value"), [("fp16", 70000.0), ("bf16", 3.4e38), ("int4", 1e38)])
def test_numbers_too_large_for_the_dtype_are_refused(dtype, value):
    with pytest.raises(ConfigError, match="store it as"):
        encode(np.full(LAYOUT.size, value, dtype=np.float32), LAYOUT, dtype)


def test_wrong_sizes_and_dtypes_are_refused():
    with pytest.raises(MismatchError, match=r"\[96\]"):
        encode(np.zeros(LAYOUT.size - 1, dtype=np.float32), LAYOUT, "fp32")
    with pytest.raises(ConfigError, match="did you mean 'bf16'"):
        encode(np.zeros(LAYOUT.size, dtype=np.float32), LAYOUT, "bf-16")
    with pytest.raises(CollectionError, match="damaged"):
        decode(b"123", LAYOUT, "int8")
