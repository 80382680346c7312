import io
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_stubs import Data, prepared, some_images
from PIL import Image

from fedunlearn.data import open_dataset, prepare
from fedunlearn.errors import DataError

NAMES = ["cat", "dog", "owl"]


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def table(count=6, images=None, labels=None, names=NAMES, columns=("image", "label")):
    images = [png(pixels) for pixels in some_images(count, 6, 5)] if images is None else images
    labels = [number % 3 for number in range(count)] if labels is None else labels
    features = {columns[0]: datasets.Image(), columns[1]: datasets.ClassLabel(names=names)}
    rows = {columns[0]: [{"bytes": image, "path": None} for image in images], columns[1]: labels}
    return datasets.Dataset.from_dict(rows, datasets.Features(features))


def write(rows, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows.data.table if isinstance(rows, datasets.Dataset) else rows, file)
    return file


@pytest.fixture
def pets(tmp_path):
    folder = tmp_path / "pets"
    write(table(6), folder / "train-00000-of-00001.parquet")
    write(table(3), folder / "test-00000-of-00001.parquet")
    return folder


def test_parts_names_and_pixels(pets, tmp_path):
    dataset = prepared(pets, "parquet", tmp_path / "cache")
    assert (len(dataset), dataset.num_own_test, dataset.class_names) == (9, 3, tuple(NAMES))
    np.testing.assert_array_equal(dataset.images(range(6))[:, 0], some_images(6, 6, 5) / np.float32(255))
    np.testing.assert_array_equal(dataset.images(range(6, 9))[:, 0], some_images(3, 6, 5) / np.float32(255))
    assert dataset.all_labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_it_says_nothing_and_leaves_no_copy_of_the_table(pets, tmp_path, capfd):
    datasets.enable_progress_bars()
    prepared(pets, "parquet", tmp_path / "cache")
    assert capfd.readouterr() == ("", "")
    assert not datasets.are_progress_bars_disabled()
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_parts_told_by_folders_and_shards_in_order(tmp_path):
    for name in ("train/0000.parquet", "train/0001.parquet", "validation/0000.parquet"):
        write(table(6, labels=[int("1" in name)] * 6), tmp_path / "pets" / "default" / name)
    dataset = prepared(tmp_path / "pets", "parquet", tmp_path / "cache")
    assert (dataset.num_own_test, dataset.all_labels.tolist()) == (6, [0] * 6 + [1] * 6 + [0] * 6)


def test_a_single_file_and_a_lone_test_part_are_the_whole_set(pets, tmp_path):
    file = pets / "test-00000-of-00001.parquet"
    assert prepared(file, "parquet", tmp_path / "cache").num_own_test == 0
    (pets / "train-00000-of-00001.parquet").unlink()
    assert prepared(pets, "parquet", tmp_path / "cache").num_own_test == 0


def test_a_table_without_hugging_face_types(tmp_path):
    rows = pa.table({"image": [png(pixels) for pixels in some_images(4, 6, 5)], "label": [0, 1, 1, 0]})
    dataset = prepared(write(rows, tmp_path / "pets.parquet"), "parquet", tmp_path / "cache")
    np.testing.assert_array_equal(dataset.images(range(4))[:, 0], some_images(4, 6, 5) / np.float32(255))
    assert dataset.class_names == ("0", "1")
    structs = pa.table({"image": [{"bytes": png(p), "path": "x"} for p in some_images(4, 6, 5)], "label": [0, 1, 1, 0]})
    other = prepared(write(structs, tmp_path / "structs.parquet"), "parquet", tmp_path / "cache")
    np.testing.assert_array_equal(other.images(range(4)), dataset.images(range(4)))


def test_columns_are_found_by_type_or_chosen(tmp_path):
    file = write(table(columns=("picture", "animal")), tmp_path / "pets.parquet")
    found = prepared(file, "parquet", tmp_path / "cache")
    chosen = prepared(file, "parquet", tmp_path / "cache", image_column="picture", label_column="animal")
    np.testing.assert_array_equal(found.images(range(6)), chosen.images(range(6)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_column": "imag"}, r'no column "imag" \(data\.image-column\); did you mean "image"'),
        ({"label_column": "lable"}, r'no column "lable" \(data\.label-column\); did you mean "label"'),
        ({"image_column": "label"}, 'column "label" holds no images but ClassLabel'),
        ({"label_column": "image"}, 'column "image" holds no labels but Image'),
    ],
)
def test_columns_that_cannot_be(pets, tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        prepared(pets, "parquet", tmp_path / "cache", **columns)


def test_a_corrupt_image_is_named_by_its_row(pets, tmp_path):
    images = [png(pixels) for pixels in some_images(6, 6, 5)]
    images[4] = images[4][:-30]
    write(table(images=images), pets / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match="pets, part train, row 4: not a readable image"):
        prepared(pets, "parquet", tmp_path / "cache")


def test_mixed_sizes_name_the_row_and_both_sizes(pets, tmp_path):
    images = [png(pixels) for pixels in [*some_images(5, 6, 5), some_images(1, 6, 6)[0]]]
    write(table(images=images), pets / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"row 5: the image is 6x6 \(height x width\), the first one is 6x5"):
        prepared(pets, "parquet", tmp_path / "cache")


def test_a_missing_image_and_a_missing_label(tmp_path):
    rows = pa.table({"image": [png(some_images(1, 6, 5)[0]), None], "label": [0, 1]})
    with pytest.raises(DataError, match="row 1: no image"):
        prepared(write(rows, tmp_path / "a.parquet"), "parquet", tmp_path / "cache")
    rows = pa.table({"image": [png(some_images(1, 6, 5)[0])] * 2, "label": [0, None]})
    with pytest.raises(DataError, match="row 1: label None is not a whole number"):
        prepared(write(rows, tmp_path / "b.parquet"), "parquet", tmp_path / "cache")


@pytest.mark.parametrize(("labels", "message"), [([0, 7], "row 1: label 7 is out of range"), ([-1, 0], "negative")])
def test_labels_that_no_class_has(tmp_path, labels, message):
    rows = table(2).data.table.set_column(1, "label", pa.array(labels, pa.int64()))  # the ClassLabel stays
    with pytest.raises(DataError, match=message):
        prepared(write(rows, tmp_path / "a.parquet"), "parquet", tmp_path / "cache")


def test_a_damaged_file_is_named(pets, tmp_path):
    file = pets / "test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet: not a readable parquet file"):
        prepared(pets, "parquet", tmp_path / "cache")


def test_a_file_whose_pages_are_damaged(pets, tmp_path):
    file = pets / "train-00000-of-00001.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    with pytest.raises(DataError, match="pets: the parquet files cannot be loaded"):
        prepared(pets, "parquet", tmp_path / "cache")


def test_parts_that_name_their_classes_differently(pets, tmp_path, monkeypatch):
    write(table(3, names=["a", "b", "c"]), pets / "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet: other columns or class names than test-"):
        prepared(pets, "parquet", tmp_path / "cache")
    parts = datasets.DatasetDict(train=table(6), test=table(3, names=["a", "b", "c"]))
    monkeypatch.setattr(datasets, "load_dataset", lambda name: parts)
    with pytest.raises(DataError, match="the parts train and test name their classes differently"):
        prepare(Data(name="owner/pets"), tmp_path / "cache")


def test_no_training_part(pets, tmp_path):
    (pets / "train-00000-of-00001.parquet").rename(pets / "validation-00000-of-00001.parquet")
    with pytest.raises(DataError, match='no part "train", only test, validation'):
        prepared(pets, "parquet", tmp_path / "cache")


def test_an_empty_folder(tmp_path):
    (tmp_path / "pets").mkdir()
    with pytest.raises(DataError, match=r"pets: no \.parquet file"):
        prepared(tmp_path / "pets", "parquet", tmp_path / "cache")


def test_a_hub_name_is_loaded_by_name_and_once(tmp_path, monkeypatch):
    asked = []

    def hub(name):
        asked.append(name)
        return datasets.DatasetDict(train=table(6), validation=table(3), unlabelled=table(1))

    monkeypatch.setattr(datasets, "load_dataset", hub)
    folder = prepare(Data(name="owner/pets"), tmp_path)
    assert prepare(Data(name="owner/pets"), tmp_path) == folder
    dataset = open_dataset(folder)
    assert asked == ["owner/pets"]
    assert (len(dataset), dataset.num_own_test, dataset.name) == (9, 3, "owner/pets")
    assert folder.name.startswith("owner-pets-")


def test_a_hub_that_does_not_answer_is_one_line(tmp_path, monkeypatch):
    def hub(name):
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub\nwith a long story")

    monkeypatch.setattr(datasets, "load_dataset", hub)
    message = r'data\.name = "owner/pets": not loaded from the Hugging Face hub \(ConnectionError: Couldn\'t reach'
    with pytest.raises(DataError, match=message) as caught:
        prepare(Data(name="owner/pets"), tmp_path)
    assert "\n" not in str(caught.value)


SLOW = pytest.mark.slow
SHARED = [
    ("usps", 7291, 2007, (1, 16, 16), 10),
    ("orl_faces", 320, 80, (1, 112, 92), 40),
    ("imagenet_samples", 1000, 0, (3, 256, 256), 1000),
    pytest.param("mnist", 60000, 10000, (1, 28, 28), 10, marks=SLOW),
    pytest.param("fashion_mnist", 60000, 10000, (1, 28, 28), 10, marks=SLOW),
    pytest.param("cifar10", 50000, 10000, (3, 32, 32), 10, marks=SLOW),
]


@pytest.mark.parametrize(("name", "train", "test", "shape", "classes"), SHARED)
def test_real_data_as_pillow_and_pyarrow_read_them(shared_data, name, train, test, shape, classes):
    dataset = open_dataset(prepare(Data(name=name, path=str(shared_data / name), format="parquet")))
    assert (len(dataset), dataset.num_own_test) == (train + test, test)
    assert (dataset.image_shape, dataset.num_classes) == (shape, classes)
    start = 0
    for part in ("train", "test") if test else ("test",):
        rows = pq.read_table(shared_data / name / f"{part}-00000-of-00001.parquet")
        picked = np.arange(0, len(rows), len(rows) // 40)
        assert dataset.labels(picked + start).tolist() == rows["label"].take(picked).to_pylist()
        for row, image in zip(picked, rows["image"].take(picked).to_pylist(), strict=True):
            pixels = np.asarray(Image.open(io.BytesIO(image["bytes"])), dtype=np.float64) / 255
            expected = pixels.reshape(*shape[1:], shape[0]).transpose(2, 0, 1)
            np.testing.assert_allclose(dataset.images([start + row])[0], expected, atol=1e-7)
        start += len(rows)


def test_fashion_classes_are_called_by_name(shared_data):
    names = datasets.Features.from_arrow_schema(
        pq.read_schema(shared_data / "fashion_mnist" / "test-00000-of-00001.parquet")
    )["label"].names
    assert names[0] == "T-shirt/top"
    dataset = prepare(
        Data(name="f", path=str(shared_data / "fashion_mnist/test-00000-of-00001.parquet"), format="parquet")
    )
    assert open_dataset(dataset).class_names == tuple(names)
