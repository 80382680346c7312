import gzip
import struct

import numpy as np
import pytest
from data_stubs import prepared, some_images

from fedunlearn.errors import DataError


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, count in (("train", 30), ("t10k", 10)):
        labels = np.arange(count, dtype=np.uint8) % 10
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(some_images(count, 6, 5)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


def test_images_and_labels_in_the_order_of_the_files(mnist, tmp_path):
    dataset = prepared(mnist, "idx", tmp_path)
    assert (len(dataset), dataset.num_own_test, dataset.image_shape) == (40, 10, (1, 6, 5))
    assert dataset.class_names == tuple("0123456789")
    np.testing.assert_array_equal(dataset.images(range(30))[:, 0], some_images(30, 6, 5) / np.float32(255))
    np.testing.assert_array_equal(dataset.images(range(30, 40))[:, 0], some_images(10, 6, 5) / np.float32(255))
    assert dataset.labels([0, 11, 29, 33]).tolist() == [0, 1, 9, 3]


def test_gzipped_files_are_the_same(mnist, tmp_path):
    plain = prepared(mnist, "idx", tmp_path)
    for file in list(mnist.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    both = prepared(mnist, "idx", tmp_path)  # the plain twin is taken
    for file in mnist.glob("*-ubyte"):
        file.unlink()
    zipped = prepared(mnist, "idx", tmp_path)
    for other in (both, zipped):
        np.testing.assert_array_equal(other.images(range(40)), plain.images(range(40)))


def test_without_a_test_part(mnist, tmp_path):
    for file in mnist.glob("t10k-*"):
        file.unlink()
    assert prepared(mnist, "idx", tmp_path).num_own_test == 0


@pytest.mark.parametrize("keep", [3, 10, 16, 100, 915])
def test_truncated(mnist, tmp_path, keep):
    file = mnist / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: .*truncated"):
        prepared(mnist, "idx", tmp_path)


def test_truncated_gzip(mnist, tmp_path):
    file = mnist / "train-images-idx3-ubyte"
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes())[:-20])
    file.unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: damaged gzip"):
        prepared(mnist, "idx", tmp_path)


def test_the_length_that_the_head_promises(mnist, tmp_path):
    file = mnist / "train-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="29 bytes of data, but its head promises 30 = 30"):
        prepared(mnist, "idx", tmp_path)


def test_other_types_are_refused(mnist, tmp_path):
    (mnist / "train-images-idx3-ubyte").write_bytes(struct.pack(">BBBB3I", 0, 0, 0x0D, 3, 1, 1, 1) + b"\0" * 4)
    with pytest.raises(DataError, match="type 0x0d with 3 dimensions; expected unsigned bytes"):
        prepared(mnist, "idx", tmp_path)


def test_fewer_labels_than_images(mnist, tmp_path):
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(10, dtype=np.uint8)))
    with pytest.raises(DataError, match="30 images but 10 labels"):
        prepared(mnist, "idx", tmp_path)


def test_test_images_of_another_size(mnist, tmp_path):
    (mnist / "t10k-images-idx3-ubyte").write_bytes(idx(some_images(10, 7, 7)))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: images are \(1, 7, 7\), .* \(1, 6, 5\)"):
        prepared(mnist, "idx", tmp_path)


def test_a_missing_file_is_named(mnist, tmp_path):
    (mnist / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no file train-labels-idx1-ubyte"):
        prepared(mnist, "idx", tmp_path)


def test_two_data_sets_in_one_folder_are_refused(mnist, tmp_path):
    (mnist / "emnist-train-images-idx3-ubyte").write_bytes(idx(some_images(2, 6, 5)))
    with pytest.raises(DataError, match="are both train images; keep one"):
        prepared(mnist, "idx", tmp_path)
