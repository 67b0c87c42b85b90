import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paramrag.errors import CollectionError, ConfigError, MismatchError
from paramrag.store.codec import decode, encode, size_bytes
from paramrag.store.layout import AdapterLayout
from paramrag.types import ModuleShape

LAYOUT = AdapterLayout((0, 1), (ModuleShape("gate_proj", 5, 7), ModuleShape("down_proj", 7, 5)), 2, 32.0)
ROWS = arrays(np.float32, LAYOUT.size, elements=st.floats(-1e4, 1e4, width=32))


def through(row: np.ndarray, dtype: str) -> np.ndarray:
    data = encode(row, LAYOUT, dtype)
    assert len(data) == size_bytes(LAYOUT, dtype)
    return decode(data, LAYOUT, dtype)


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


@given(ROWS, st.sampled_from(["fp16", "bf16", "int8"]))
def test_storing_what_was_read_changes_nothing(row, dtype):
    once = through(row, dtype)
    np.testing.assert_allclose(through(once, dtype), once, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(dtype, bad):
    row = np.zeros(LAYOUT.size, dtype=np.float32)
    row[3] = bad
    with pytest.raises(ConfigError, match="not finite"):
        encode(row, LAYOUT, dtype)


@pytest.mark.parametrize(("dtype", "value"), [("fp16", 70000.0), ("bf16", 3.4e38)])
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
