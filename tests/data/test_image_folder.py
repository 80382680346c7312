import numpy as np
import pytest
from data_stubs import prepared, some_images
from PIL import Image

from fedunlearn.errors import DataError


def save(file, pixels, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


@pytest.fixture
def pets(tmp_path):
    folder = tmp_path / "pets"
    for number, name in enumerate(["dog/b.png", "dog/a.png", "cat/x.bmp", "cat/deep/y.webp", "dog/c.png"]):
        save(folder / name, some_images(5, 6, 5, 3)[number], **({"lossless": True} if "webp" in name else {}))
    (folder / "dog" / "notes.txt").write_text("not an image")
    return folder


def test_sorted_folders_and_files_with_the_pixels_that_pillow_reads(pets, tmp_path):
    dataset = prepared(pets, "imagefolder", tmp_path / "cache")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.all_labels.tolist() == [0, 0, 1, 1, 1]
    files = ["cat/deep/y.webp", "cat/x.bmp", "dog/a.png", "dog/b.png", "dog/c.png"]
    expected = np.stack([np.asarray(Image.open(pets / file).convert("RGB")) for file in files])
    np.testing.assert_array_equal(dataset.images(range(5)), expected.transpose(0, 3, 1, 2) / np.float32(255))


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_train_and_test_folders(tmp_path, test_name):
    folder = tmp_path / "pets"
    for number, name in enumerate(["train/cat/1.png", "train/dog/1.png", f"{test_name}/dog/1.png"]):
        save(folder / name, some_images(3, 6, 5)[number])
    dataset = prepared(folder, "imagefolder", tmp_path / "cache")
    assert (dataset.num_own_test, dataset.all_labels.tolist(), dataset.image_shape) == (1, [0, 1, 1], (1, 6, 5))


def test_one_coloured_image_makes_all_have_three_channels(tmp_path):
    folder = tmp_path / "pets"
    save(folder / "cat" / "grey.png", some_images(1, 6, 5)[0])
    save(folder / "dog" / "coloured.png", some_images(1, 6, 5, 3)[0])
    dataset = prepared(folder, "imagefolder", tmp_path / "cache")
    assert dataset.image_shape == (3, 6, 5)
    np.testing.assert_array_equal(dataset.images([0])[0, 2], some_images(1, 6, 5)[0] / np.float32(255))


@pytest.mark.parametrize(("height", "width"), [(6, 7), (8, 5)])
def test_mixed_sizes_name_the_file_and_both_sizes(pets, tmp_path, height, width):
    save(pets / "dog" / "b.png", some_images(1, height, width)[0])
    message = rf"dog/b\.png: the image is {height}x{width} \(height x width\), the first one is 6x5"
    with pytest.raises(DataError, match=message):
        prepared(pets, "imagefolder", tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"not an image at all", None])
def test_a_corrupt_image_is_named(pets, tmp_path, content):
    file = pets / "dog" / "b.png"
    file.write_bytes(file.read_bytes()[:-40] if content is None else content)
    with pytest.raises(DataError, match=r"dog/b\.png: not a readable image"):
        prepared(pets, "imagefolder", tmp_path / "cache")


def test_sixteen_bits_are_refused(pets, tmp_path):
    save(pets / "dog" / "b.png", some_images(1, 6, 5)[0].astype(np.uint16) * 257)
    with pytest.raises(DataError, match=r"dog/b\.png: pixels of mode I;16 are not supported"):
        prepared(pets, "imagefolder", tmp_path / "cache")


def test_an_empty_class_folder(pets, tmp_path):
    (pets / "bird").mkdir()
    with pytest.raises(DataError, match=r"pets/bird: an empty class folder"):
        prepared(pets, "imagefolder", tmp_path / "cache")


def test_no_class_folder(tmp_path):
    (tmp_path / "pets").mkdir()
    with pytest.raises(DataError, match="pets: no class folders"):
        prepared(tmp_path / "pets", "imagefolder", tmp_path / "cache")


def test_a_test_class_that_training_does_not_know(tmp_path):
    folder = tmp_path / "pets"
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cats/1.png"):
        save(folder / name, some_images(1, 6, 5)[0])
    with pytest.raises(DataError, match=r'test/cats: no such class .*did you mean "cat"'):
        prepared(folder, "imagefolder", tmp_path / "cache")


def test_pictures_of_any_size_become_squares(tmp_path):
    folder = tmp_path / "pets"
    wide = np.tile(np.array([[10] * 4 + [200] * 8 + [10] * 4], np.uint8), (8, 1))  # the middle square is all 200
    save(folder / "cat" / "wide.png", wide)
    save(folder / "dog" / "tall.png", wide.T.copy())
    dataset = prepared(folder, "imagefolder", tmp_path / "cache", side=12)
    assert dataset.image_shape == (1, 12, 12)
    np.testing.assert_allclose(dataset.images(range(2)), 200 / 255, atol=1e-6)


def test_a_square_is_resized_as_pillow_does(tmp_path):
    folder, pixels = tmp_path / "pets", some_images(2, 20, 14)
    for number in range(2):
        save(folder / "cat" / f"{number}.png", pixels[number])
    dataset = prepared(folder, "imagefolder", tmp_path / "cache", side=8)
    expected = [Image.fromarray(one[3:17]).resize((8, 8), Image.Resampling.BICUBIC) for one in pixels]
    np.testing.assert_array_equal(dataset.images(range(2))[:, 0], np.stack(expected) / np.float32(255))


def test_another_size_is_another_data_set(pets, tmp_path):
    sizes = [prepared(pets, "imagefolder", tmp_path / "cache", side=side).image_shape for side in (8, 10, None)]
    assert sizes == [(3, 8, 8), (3, 10, 10), (3, 6, 5)]
