"""Arrays as bytes: what `numpy.save` writes, read without a copy."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from fedunlearn.wire import from_npy, to_npy

kinds = arrays.boolean_dtypes() | arrays.integer_dtypes() | arrays.floating_dtypes()


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


@given(arrays.arrays(kinds, arrays.array_shapes(min_dims=0, min_side=0)))
def test_the_bytes_are_those_of_numpy_save(array):
    assert to_npy(array) == saved(np.ascontiguousarray(array).reshape(array.shape))
    back = from_npy(to_npy(array))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_other_layouts_are_read_too():
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for data in (saved(array), to_npy(array), memoryview(to_npy(array.T.copy().T))):
        np.testing.assert_array_equal(from_npy(data), array)


def test_the_array_is_a_read_only_view():
    data = to_npy(np.arange(1000.0))
    array = from_npy(data)
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_objects_are_refused():
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="OBJECT"):
        from_npy(file.getvalue())
