"""Pictures and arrays in artefacts/."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedunlearn.judging import Verdict
from fedunlearn.reporting.artefacts import load_arrays, pixels, save_array, save_images, save_verdict


def test_rows_of_pictures_are_written_below_each_other(tmp_path):
    white, black = np.ones((3, 1, 28, 28)), np.zeros((2, 1, 28, 28))
    path = save_images(tmp_path, "rows", [white, black])
    assert path == "artefacts/rows.png"
    image = np.asarray(Image.open(tmp_path / path))
    assert image.shape == (2 * 112 + 3 * 4, 3 * 112 + 4 * 4, 3)
    assert (image[4:116, 4:116] == 255).all()
    assert (image[120:232, 4:116] == 0).all()


@given(st.integers(1, 40), st.integers(1, 4))
def test_small_pictures_are_enlarged_by_whole_factors(side, channels):
    image = np.random.default_rng(0).random((channels, side, side))
    shown = pixels(image)
    factor = shown.shape[0] // side
    assert shown.shape == (side * factor, side * factor, 3)
    assert shown.shape[0] >= 112
    assert (shown[:factor, :factor] == shown[0, 0]).all()


def test_colours_and_failed_pixels():
    image = np.zeros((3, 1, 2))
    image[0, 0, 0], image[:, 0, 1] = 1.5, np.nan
    assert pixels(image)[0, 0].tolist() == [255, 0, 0]
    assert pixels(image)[0, -1].tolist() == [128, 128, 128]
    large = np.zeros((1, 224, 224))
    assert pixels(large).shape == (224, 224, 3)


def test_arrays_survive(tmp_path):
    path = save_array(tmp_path, "scores", scores=np.arange(3.0), member=np.array([True, False, True]))
    arrays = load_arrays(tmp_path, path)
    np.testing.assert_array_equal(arrays["scores"], np.arange(3.0))
    assert arrays["member"].dtype == bool


def test_a_verdict_leaves_pictures_and_points_to_its_arrays(tmp_path):
    images = np.random.default_rng(0).random((2, 1, 8, 8))
    verdict = Verdict({}, {"updates": [{"round": 1, "client": 7}]}, {"originals-0": images, "rebuilt-0": images})
    details, pictures = save_verdict(tmp_path, "matching-server-trunk", verdict)
    assert pictures == ["artefacts/matching-server-trunk-r1-c7.png"]
    assert details["array"] == "artefacts/matching-server-trunk.npz"
    assert all((tmp_path / path).is_file() for path in [*pictures, details["array"]])


def test_means_stand_behind_a_gap_and_forgotten_pictures_have_a_file_of_their_own(tmp_path):
    images, means = np.zeros((3, 1, 8, 8)), np.full((2, 1, 8, 8), 0.5)
    arrays = {"originals-0": images, "rebuilt-0": images, "means-0": means}
    verdict = Verdict({}, {"forgotten": {"request": "request-1"}}, arrays)
    _, pictures = save_verdict(tmp_path, "difference-server-finetune", verdict)
    assert pictures == ["artefacts/difference-server-finetune-forgotten.png"]
    shown = np.asarray(Image.open(tmp_path / pictures[0]))
    assert shown.shape == (2 * 116 + 4, 5 * 116 + 4, 3)
    assert [int(shown[60, 4 + 116 * column + 50, 0]) for column in range(5)] == [0, 0, 0, 255, 128]


def test_scores_leave_arrays_but_no_pictures(tmp_path):
    verdict = Verdict({}, {"members": 1}, {"scores": np.zeros(2), "member": np.array([True, False])})
    details, pictures = save_verdict(tmp_path, "population", verdict)
    assert pictures == []
    assert details["array"] == "artefacts/population.npz"
    assert save_verdict(tmp_path, "labels", Verdict({}, {"updates": []})) == ({"updates": []}, [])


@pytest.mark.parametrize("seed", [0, 1])
def test_same_picture_same_file(tmp_path, seed):
    images = np.random.default_rng(seed).random((2, 1, 8, 8))
    files = [(tmp_path / save_images(tmp_path, name, [images])).read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]
