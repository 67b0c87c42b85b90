import numpy as np
import pytest

from paramrag.errors import ConfigError
from paramrag.store.cache import RowCache


def row(value: float) -> np.ndarray:
    return np.full(10, value, dtype=np.float32)  # 40 bytes


def test_the_longest_unused_row_goes_first():
    cache = RowCache(80)
    cache.put("a", row(1))
    cache.put("b", row(2))
    assert cache.get("a") is not None
    cache.put("c", row(3))
    assert cache.get("b") is None
    assert cache.get("a")[0] == 1
    assert (len(cache), cache.size_bytes) == (2, 80)


def test_putting_again_replaces_and_counts_once():
    cache = RowCache(80)
    cache.put("a", row(1))
    cache.put("a", row(2))
    assert cache.get("a")[0] == 2
    assert cache.size_bytes == 40


def test_a_row_larger_than_the_cache_is_not_kept():
    cache = RowCache(39)
    cache.put("a", row(1))
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_rows_cannot_be_changed_by_who_gets_them():
    cache = RowCache(80)
    cache.put("a", row(1))
    with pytest.raises(ValueError, match="read-only"):
        cache.get("a")[0] = 5


def test_drop_forgets_what_is_unwanted():
    cache = RowCache(800)
    for name in "abc":
        cache.put(name, row(1))
    cache.drop(lambda key: key != "b")
    assert cache.get("b") is not None
    assert (len(cache), cache.size_bytes) == (1, 40)


def test_a_negative_size_is_refused():
    with pytest.raises(ConfigError):
        RowCache(-1)
