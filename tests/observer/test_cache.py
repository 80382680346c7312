"""What is kept by content: made once, whoever asks; whole, however many write."""

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.observer.cache import ContentCache, digest
from fedunlearn.storage import read_arrays, write_arrays

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def test_equal_content_is_worked_on_once(tmp_path):
    content, calls = {"weights": np.arange(3.0), "steps": 4, "inner": {"rate": 0.1}}, []

    def make():
        calls.append(1)
        return {"b": np.arange(4).reshape(2, 2), "a": np.array(2.5)}

    one, other = ContentCache(tmp_path), ContentCache(tmp_path)  # of two cells, perhaps in two processes
    for cache in (one, one, other):
        kept = cache.get("head", content, make)
        assert list(kept) == ["b", "a"]
        np.testing.assert_array_equal(kept["b"], [[0, 1], [2, 3]])
    assert (one.made, one.reused, other.made, other.reused, len(calls)) == (1, 1, 0, 1, 1)
    one.get("head", content | {"steps": 5}, make)
    one.get("tail", content, make)
    assert (one.made, len(calls)) == (3, 3)


def test_without_a_folder_everything_is_made_anew():
    cache = ContentCache(None)
    for _ in range(2):
        cache.get("head", {}, lambda: {"a": np.zeros(1)})
    assert (cache.made, cache.reused) == (2, 0)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_a_digest_does_not_depend_on_the_order_of_keys(content):
    assert digest(content) == digest(dict(reversed(content.items())))


def test_a_digest_tells_arrays_of_other_types_shapes_and_values_apart():
    base = np.arange(4, dtype=np.float32)
    others = [base.astype(np.float64), base.reshape(2, 2), base[::-1], base[:3], base.view(np.int32)]
    digests = {digest({"x": array}) for array in (base, *others)}
    assert len(digests) == 1 + len(others)
    assert digest({"x": base}) != digest({"y": base})
    assert digest({"x": {"y": 1}, "z": 2}) != digest({"x": {"y": 1, "z": 2}})


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path, seen, failures = tmp_path / "model.safetensors", [], []

    def write(value):
        for _ in range(40):
            try:
                write_arrays(path, {"w": np.full(20000, value)})
                seen.append(read_arrays(path)[0]["w"])
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(float(value),)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(array.shape == (20000,) and len(np.unique(array)) == 1 for array in seen)
    assert list(tmp_path.iterdir()) == [path]
