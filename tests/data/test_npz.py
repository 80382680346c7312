import numpy as np
import pytest
from data_stubs import prepared, some_images

from fedunlearn.errors import DataError

LABELS = np.array([0, 1, 2, 1])


def archive(folder, **arrays):
    file = folder / "own.npz"
    np.savez(file, **arrays)
    return file


def test_train_and_test(tmp_path):
    images = some_images(4, 6, 5, 3)
    file = archive(tmp_path, x_train=images, y_train=LABELS, x_test=images[:2], y_test=LABELS[:2])
    dataset = prepared(file, "npz", tmp_path / "cache")
    assert (len(dataset), dataset.num_own_test, dataset.image_shape, dataset.num_classes) == (6, 2, (3, 6, 5), 3)
    np.testing.assert_array_equal(dataset.images([4]), images[:1].transpose(0, 3, 1, 2) / np.float32(255))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (some_images(4, 6, 5), some_images(4, 6, 5) / np.float32(255)),
        (some_images(4, 6, 5).astype(np.float64), some_images(4, 6, 5) / np.float32(255)),
        (some_images(4, 6, 5).astype(np.int64), some_images(4, 6, 5) / np.float32(255)),
        (some_images(4, 6, 5).astype(np.uint16) * 257, some_images(4, 6, 5) / np.float32(255)),
        (some_images(4, 6, 5) / 255, (some_images(4, 6, 5) / 255).astype(np.float32)),
        (some_images(4, 6, 5) > 99, (some_images(4, 6, 5) > 99).astype(np.float32)),
    ],
    ids=["uint8", "whole floats", "int64", "uint16", "0 to 1", "bool"],
)
def test_pixels_of_every_kind_end_up_between_0_and_1(tmp_path, images, expected):
    dataset = prepared(archive(tmp_path, images=images, labels=LABELS), "npz", tmp_path / "cache")
    np.testing.assert_allclose(dataset.images(range(4))[:, 0], expected, rtol=1e-7)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (1, 6, 5)])
def test_channels_anywhere(tmp_path, shape):
    images = some_images(4, 6, 5)
    dataset = prepared(archive(tmp_path, images=images.reshape(4, *shape), labels=LABELS), "npz", tmp_path / "cache")
    np.testing.assert_array_equal(dataset.images(range(4)), images[:, None] / np.float32(255))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": some_images(4, 6, 5), "labls": LABELS}, 'no array "labels"; did you mean "labls"'),
        ({"x_train": some_images(4, 6, 5)}, 'no array "y_train"; did you mean "x_train"'),
        ({"images": some_images(4, 30), "labels": LABELS}, "shape 4x30; expected n x height x width"),
        ({"images": some_images(4, 6, 5) - 300.0, "labels": LABELS}, "pixels from -299 to -49"),
        ({"images": np.full((4, 6, 5), np.nan), "labels": LABELS}, "not all of them finite"),
        ({"images": some_images(4, 6, 5), "labels": np.array([{}] * 4)}, "cannot be read .*allow_pickle=False"),
        ({"images": some_images(3, 6, 5), "labels": LABELS}, "3 images but 4 labels"),
        ({"images": some_images(0, 6, 5), "labels": LABELS[:0]}, "no samples"),
        (
            {"x_train": some_images(4, 6, 5), "y_train": LABELS, "x_test": np.zeros((1, 6, 5)), "y_test": LABELS[:1]},
            "white is 1 in x_test but 255 in x_train",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, arrays, message):
    file = archive(tmp_path, **arrays)
    with pytest.raises(DataError, match=rf"own\.npz.*{message}"):
        prepared(file, "npz", tmp_path / "cache")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1, 1, 0], "labels, row 1: label -1 is negative"),
        ([0, 1, 1.5, 0], "row 2: label 1.5 is not a whole number"),
        ([0, 1, np.inf, 0], "row 2: label inf is not a whole number"),
        (["cat", "dog", "cat", "cat"], "row 0: label 'cat' is not a whole number"),
        ([0, 1, 1, 255], "row 3: label 255 is out of range, as no sample has label 254"),
        ([7, 8, 7, 8], "row 0: label 7 is out of range, as no sample has label 6"),
        ([[1, 0]] * 4, r"labels of shape \(4, 2\); expected one number per image"),
    ],
)
def test_labels_that_cannot_be(tmp_path, labels, message):
    file = archive(tmp_path, images=some_images(4, 6, 5), labels=np.array(labels))
    with pytest.raises(DataError, match=message):
        prepared(file, "npz", tmp_path / "cache")


def test_a_test_label_that_training_does_not_know(tmp_path):
    images = some_images(4, 6, 5)
    file = archive(tmp_path, x_train=images, y_train=LABELS, x_test=images, y_test=LABELS + 1)
    with pytest.raises(DataError, match="y_test, row 2: label 3 is out of range; the 3 classes are 0 to 2"):
        prepared(file, "npz", tmp_path / "cache")


def test_whole_float_labels_and_labels_from_1_are_taken(tmp_path):
    file = archive(tmp_path, images=some_images(4, 6, 5), labels=np.array([1.0, 2.0, 3.0, 1.0]))
    dataset = prepared(file, "npz", tmp_path / "cache")
    assert dataset.all_labels.tolist() == [1, 2, 3, 1]
    assert dataset.class_names == ("0", "1", "2", "3")


def test_a_truncated_archive(tmp_path):
    file = archive(tmp_path, images=some_images(4, 6, 5), labels=LABELS)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"own\.npz: not an \.npz archive, or truncated"):
        prepared(file, "npz", tmp_path / "cache")


def test_a_damaged_archive(tmp_path):
    file = archive(tmp_path, images=some_images(4, 6, 5), labels=LABELS)
    content = bytearray(file.read_bytes())
    content[200:210] = b"\xff" * 10  # inside the pixels: the checksum no longer fits
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"own\.npz: cannot be read .*CRC"):
        prepared(file, "npz", tmp_path / "cache")


def test_a_folder_with_one_archive_will_do_but_not_with_two(tmp_path):
    archive(tmp_path, images=some_images(4, 6, 5), labels=LABELS)
    assert len(prepared(tmp_path, "npz", tmp_path / "cache")) == 4
    np.savez(tmp_path / "other.npz", images=some_images(4, 6, 5), labels=LABELS)
    with pytest.raises(DataError, match=r"2 \.npz files; name one"):
        prepared(tmp_path, "npz", tmp_path / "cache")


def test_arrays_are_not_resized(tmp_path):
    np.savez(tmp_path / "own.npz", x_train=np.zeros((4, 8, 8), np.uint8), y_train=np.array([0, 1, 0, 1]))
    with pytest.raises(DataError, match=r"data\.side = 16: only encoded pictures are resized; .*own\.npz"):
        prepared(tmp_path / "own.npz", "npz", tmp_path / "cache", side=16)
