"""What the defences of released models do to a head: closed forms and properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from fedunlearn.attacks.forgotten_class.closest_rows import resemblance
from fedunlearn.defences.twin_row import mixed
from tests.defences.workshop import head, logits, make, occasion


def test_noise_has_the_size_that_was_asked_for():
    weights = head(classes=50, width=400)
    moved = make("head-noise", scale=0.2).release(weights, occasion())["head.weight"] - weights["head.weight"]
    assert moved.std() == pytest.approx(0.2 * np.sqrt(np.mean(weights["head.weight"] ** 2)), rel=0.03)
    assert abs(moved.mean()) < 0.01


def test_a_matched_row_is_of_average_size_and_keeps_its_direction():
    weights = head()
    matched = make("row-norm-match").release(weights, occasion(classes=(3,)))
    rows, others = matched["head.weight"].astype("f8"), np.arange(10) != 3
    away = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(away, axis=1)
    old = weights["head.weight"][3] - weights["head.weight"][3].mean()
    assert norms[3] == pytest.approx(norms[others].mean(), rel=1e-5)
    assert rows[3].mean() == pytest.approx(rows[others].mean(), rel=1e-4)
    assert matched["head.bias"][3] == pytest.approx(weights["head.bias"][others].mean(), rel=1e-5)
    assert away[3] @ old == pytest.approx(norms[3] * np.linalg.norm(old), rel=1e-5)
    assert np.array_equal(matched["head.weight"][others], weights["head.weight"][others])


def test_a_row_without_direction_is_only_shifted():
    weights = head()
    weights["head.weight"][3] = 7.0
    matched = make("row-norm-match").release(weights, occasion(classes=(3,)))["head.weight"]
    np.testing.assert_allclose(matched[3], matched[np.arange(10) != 3].mean(), rtol=1e-4)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_twin_wins_on_the_share_that_was_asked_for(share):
    features = np.random.default_rng(1).random((1000, 30))
    weights = make("twin-row", share=share).release(head(), occasion(features, classes=(3,)))
    assert (logits(weights, features).argmax(axis=1) == 3).mean() == pytest.approx(share, abs=0.003)


def test_twins_are_the_same_in_every_round_and_nothing_happens_unasked():
    features, weights = np.random.default_rng(1).random((50, 30)), head()
    one = make("twin-row").release(weights, occasion(features, seed=1))
    later = occasion(features, seed=1)
    later.rng.random(7)
    assert np.array_equal(make("twin-row").release(weights, later)["head.weight"], one["head.weight"])
    assert make("twin-row").release(weights, occasion(features, requested=False)) is weights


def test_without_images_of_its_own_the_server_leaves_the_model_alone():
    weights = head()
    assert make("twin-row").release(weights, occasion()) is weights
    assert make("teleport-rows").release(weights, occasion()) is weights


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), rank=st.integers(1, 20), strength=st.floats(0.1, 1))
def test_teleporting_keeps_every_output_on_the_data_that_span_the_features(seed, rank, strength):
    draws = np.random.default_rng(seed)
    features, unseen = (draws.random((count, rank)) for count in (60, 20))
    mixing = draws.normal(size=(rank, 30))
    weights = {name: array.astype("f8") for name, array in head(seed=seed).items()}
    moved = make("teleport-rows", kept=1.0, strength=strength).release(weights, occasion(features @ mixing, seed=seed))
    for images in (features, unseen):
        np.testing.assert_allclose(logits(moved, images @ mixing), logits(weights, images @ mixing), atol=1e-5)
    assert not np.allclose(moved["head.weight"], weights["head.weight"], atol=0.01)


def test_teleported_rows_look_alike():
    draws = np.random.default_rng(2)
    features = draws.dirichlet(np.ones(12), 80) @ draws.normal(size=(12, 30))  # some direction of them is constant
    moved = make("teleport-rows", kept=1.0).release(head(), occasion(features))
    norms = np.linalg.norm(moved["head.weight"], axis=1)
    np.testing.assert_allclose(norms, norms.mean(), rtol=1e-5)
    np.testing.assert_allclose(moved["head.bias"], moved["head.bias"].mean(), atol=1e-5)


def test_where_features_fill_the_space_nothing_can_move():
    features, weights = np.random.default_rng(3).normal(size=(200, 30)), head()
    moved = make("teleport-rows", kept=1.0).release(weights, occasion(features))
    np.testing.assert_allclose(moved["head.weight"], weights["head.weight"], atol=1e-6)
    np.testing.assert_allclose(moved["head.bias"], weights["head.bias"], atol=1e-6)


def test_a_twin_is_predicted_on_noise_about_as_often_as_a_retained_class():
    features = np.random.default_rng(1).random((500, 30))
    outputs = logits(make("twin-row").release(head(), occasion(features)), features)
    means = np.log(softmax(outputs, axis=1).mean(axis=0))
    assert np.abs(np.delete(means, 3) - means[3]).min() < 0.3


def test_mixed_rows_are_as_far_from_the_mean_as_those_they_are_mixed_from():
    rows = head()["head.weight"].astype("f8")
    mixtures = mixed(rows, np.random.default_rng(0).normal(size=(5, 10)))
    away = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
    np.testing.assert_allclose(np.linalg.norm(mixtures - rows.mean(axis=0), axis=1), away.mean())
    assert np.linalg.matrix_rank(np.vstack([rows, mixtures])) == 10


def test_closest_rows_find_a_copy_that_is_shorter_than_its_origin():
    rows = np.eye(6)
    rows[4] = 0.8 * rows[1] + 0.01
    assert resemblance(rows).argsort()[::-1][:2].tolist() == [4, 1]
    assert np.isfinite(resemblance(np.ones((4, 3)))).all()
