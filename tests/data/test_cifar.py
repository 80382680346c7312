import os
import pickle

import numpy as np
import pytest
from data_stubs import prepared, some_images

from fedunlearn.errors import DataError

CLASSES = ["airplane", "automobile", "bird"]


def python_2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """Return a batch as Python 2 pickled it in 2009: byte strings, and numpy's name of that time."""
    raw = pixels.tobytes()
    rows = len(pixels)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01K" + bytes([rows]) + b"M\x00\x0c\x86" + dtype + b"I00\nT" + len(raw).to_bytes(4, "little") + raw
    entries = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + state + b"tbU\x06labels" + entries + b"u."


@pytest.fixture
def cifar_10(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        pixels = some_images(4, 3072) ^ np.uint8(number)
        (folder / name).write_bytes(python_2_batch(pixels, [0, 1, 2, number % 3]))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [c.encode() for c in CLASSES]}, protocol=2))
    return folder


def write_batch(file, protocol=2, **entries):
    file.write_bytes(pickle.dumps(entries, protocol=protocol))


@pytest.mark.filterwarnings("ignore:numpy.core")
def test_python_2_batches_as_a_trusting_reader_reads_them(cifar_10, tmp_path):
    dataset = prepared(cifar_10, "cifar", tmp_path / "cache")
    assert (len(dataset), dataset.num_own_test, dataset.image_shape) == (24, 4, (3, 32, 32))
    assert dataset.class_names == tuple(CLASSES)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        batch = pickle.loads((cifar_10 / name).read_bytes(), encoding="bytes")
        ids = np.arange(4) + 4 * number
        expected = batch[b"data"].reshape(4, 3, 32, 32) / np.float32(255)
        np.testing.assert_array_equal(dataset.images(ids), expected)
        assert dataset.labels(ids).tolist() == batch[b"labels"]


def test_the_folder_above_will_do(cifar_10, tmp_path):
    assert len(prepared(cifar_10.parent, "cifar", tmp_path / "cache")) == 24


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_cifar_100_with_fine_labels_written_by_python_3(tmp_path, protocol):
    folder = tmp_path / "cifar"
    folder.mkdir()
    pixels = np.asfortranarray(some_images(3, 3072)) if protocol >= 4 else some_images(3, 3072)
    for name in ("train", "test"):
        labels = np.array([0, 2, 1], dtype=">i4") if protocol == 3 else [np.int64(0), 2, 1]
        write_batch(folder / name, protocol, data=pixels, fine_labels=labels, coarse_labels=[0, 0, 0])
    write_batch(folder / "meta", protocol, fine_label_names=CLASSES)
    dataset = prepared(folder, "cifar", tmp_path / "cache")
    np.testing.assert_array_equal(
        dataset.images([0, 1, 2]), some_images(3, 3072).reshape(3, 3, 32, 32) / np.float32(255)
    )
    assert dataset.all_labels.tolist() == [0, 2, 1, 0, 2, 1]


class Attack:
    """Touches a file when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("where", ["data", "labels"])
def test_a_pickle_that_attacks_is_refused_and_does_nothing(cifar_10, tmp_path, protocol, where):
    sign = tmp_path / "broken-into"
    entries = {"data": some_images(4, 3072), "labels": [0] * 4, where: Attack(os.system, f"touch {sign}")}
    write_batch(cifar_10 / "data_batch_3", protocol, **entries)
    pickle.loads((cifar_10 / "data_batch_3").read_bytes())
    assert sign.exists()  # the attack works on a trusting reader
    sign.unlink()
    with pytest.raises(DataError, match=r"data_batch_3: refused, because unpickling it would call posix\.system"):
        prepared(cifar_10, "cifar", tmp_path / "cache")
    assert not sign.exists()


@pytest.mark.parametrize("function", [eval, getattr, __import__, np.load, np.frombuffer])
def test_nothing_else_is_called_either(cifar_10, tmp_path, function):
    write_batch(cifar_10 / "data_batch_1", data=Attack(function, "1"), labels=[])
    with pytest.raises(DataError, match=rf"refused, .* {function.__name__}|refused, .*\.{function.__name__}"):
        prepared(cifar_10, "cifar", tmp_path / "cache")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"data": np.array([{}] * 4), "labels": [0] * 4}, "damaged pickle"),
        ({"data": some_images(4, 99), "labels": [0] * 4}, '"data" is not an array of n x 3072'),
        ({"data": some_images(4, 3072).astype(float), "labels": [0] * 4}, '"data" is not an array of n x 3072'),
        ({"data": some_images(4, 3072)}, 'no entry "labels"'),
        ({"data": some_images(4, 3072), "labels": [0, 1, 2, 3]}, "row 11: label 3 is out of range; the 3 classes"),
        ({"data": some_images(4, 3072), "labels": [0] * 3}, "20 images but 19 labels"),
    ],
)
def test_a_batch_that_cannot_be_used(cifar_10, tmp_path, entries, message):
    write_batch(cifar_10 / "data_batch_3", **entries)
    with pytest.raises(DataError, match=message):
        prepared(cifar_10, "cifar", tmp_path / "cache")


def test_a_truncated_batch(cifar_10, tmp_path):
    file = cifar_10 / "data_batch_2"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match="data_batch_2: damaged pickle"):
        prepared(cifar_10, "cifar", tmp_path / "cache")


def test_a_missing_batch(cifar_10, tmp_path):
    (cifar_10 / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4: No such file"):
        prepared(cifar_10, "cifar", tmp_path / "cache")


def test_no_batch_at_all(tmp_path):
    with pytest.raises(DataError, match="neither data_batch_1"):
        prepared(tmp_path, "cifar", tmp_path / "cache")
