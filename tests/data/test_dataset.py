import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from data_stubs import Data

from fedunlearn.data import open_dataset, open_partition, prepare, save_partition
from fedunlearn.errors import DataError

WORKER = """
import sys
import fedunlearn.data
heavy = ("torch", "datasets", "flwr_datasets", "pandas", "sklearn", "mlxtend", "PIL", "pyarrow")
assert not [name for name in heavy if name in sys.modules], "on import"
dataset = fedunlearn.data.open_dataset(sys.argv[1])
partition = fedunlearn.data.open_partition(sys.argv[2])
assert dataset.images(partition[1]).shape == (2, 1, 8, 8)
assert dataset.labels(partition[0]).shape == (3,)
assert not [name for name in heavy if name in sys.modules], "on opening"
"""


@pytest.fixture
def folder(data_cache):
    return prepare(Data())


def test_images_of_any_ids_in_any_order(folder):
    digits = open_dataset(folder)
    some = digits.images(np.array([5, 3, 5]))
    np.testing.assert_array_equal(some[0], some[2])
    np.testing.assert_array_equal(some[1], digits.images([3])[0])
    assert digits.images([]).shape == (0, 1, 8, 8)
    assert digits.labels([]).dtype == np.int64


def test_torch_takes_what_it_returns_without_a_warning(folder):
    digits = open_dataset(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, labels = torch.from_numpy(digits.images([1, 2])), torch.from_numpy(digits.labels([1, 2]))
    before = digits.images([1])
    images += 1
    labels += 1
    np.testing.assert_array_equal(digits.images([1]), before)


def test_the_labels_of_all_samples_cannot_be_changed(folder):
    with pytest.raises(ValueError, match="read-only"):
        open_dataset(folder).all_labels[0] = 1


def test_it_is_opened_once_and_travels_as_a_path(folder):
    digits = open_dataset(folder)
    assert open_dataset(str(folder)) is digits
    message = pickle.dumps(digits)
    assert len(message) < 1000
    assert pickle.loads(message) is digits


def test_worker_processes_need_numpy_alone(folder, tmp_path):
    save_partition([np.array([0, 2, 4]), np.array([1, 3])], tmp_path)
    assert len(open_partition(tmp_path)) == 2
    subprocess.run([sys.executable, "-W", "error", "-c", WORKER, folder, tmp_path], check=True)


def test_a_folder_without_data_is_named(tmp_path):
    with pytest.raises(DataError, match=r"meta\.json: no such file; is .* a prepared data set"):
        open_dataset(tmp_path)


def test_a_damaged_array_is_named(tmp_path):
    folder = prepare(Data(), tmp_path)
    content = (folder / "x.npy").read_bytes()
    (folder / "x.npy").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"damaged .*delete this folder"):
        open_dataset(folder)
