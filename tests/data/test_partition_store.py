import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.data import open_partition, save_partition
from fedunlearn.errors import DataError

SHARES = [np.array([3, 5, 9]), np.array([1]), np.array([2, 4])]


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_what_is_saved_is_opened(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("partition")
    shares = np.split(np.arange(sum(sizes)) * 3, np.cumsum(sizes)[:-1])
    save_partition(shares, folder)
    partition = open_partition(folder)
    assert len(partition) == len(shares)
    assert [len(ids) for ids in partition] == sizes
    for ours, theirs in zip(shares, partition, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_is_a_sequence_of_copies(tmp_path):
    save_partition(SHARES, tmp_path / "new" / "folder")
    partition = open_partition(tmp_path / "new" / "folder")
    partition[0][:] = 0
    np.testing.assert_array_equal(partition[0], SHARES[0])
    assert [share.tolist() for share in partition[1:]] == [[1], [2, 4]]
    for client in (3, -1):
        with pytest.raises(IndexError, match=f"client {client} of 3"):
            partition[client]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.from_numpy(partition[0]).tolist() == [3, 5, 9]


def test_it_is_opened_once_and_travels_as_a_path(tmp_path):
    save_partition([np.arange(10000)], tmp_path)
    partition = open_partition(tmp_path)
    assert open_partition(str(tmp_path)) is partition
    message = pickle.dumps(partition)
    assert len(message) < 1000
    assert pickle.loads(message) is partition


def test_a_partition_that_is_saved_again_is_opened_again(tmp_path):
    save_partition(SHARES, tmp_path)
    assert len(open_partition(tmp_path)) == 3
    save_partition(SHARES[:2], tmp_path)
    os.utime(tmp_path / "offsets.npy", ns=(1, 1))
    assert len(open_partition(tmp_path)) == 2


def test_no_partition(tmp_path):
    with pytest.raises(DataError, match=r"offsets\.npy: no such file; is .* a saved partition"):
        open_partition(tmp_path)


def test_a_damaged_partition(tmp_path):
    save_partition(SHARES, tmp_path)
    (tmp_path / "indices.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="damaged"):
        open_partition(tmp_path)
