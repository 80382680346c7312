"""Confidence, modified entropy, divergences and distances of outputs: published values, oracles, properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.special import logit, softmax

from fedunlearn.judging.forgetting.confidence import confidences, margins
from fedunlearn.judging.forgetting.distances import (
    activation_distance,
    completeness,
    fingerprint,
    fingerprint_distance,
)
from fedunlearn.judging.forgetting.divergence import js_divergence, js_divergences, zero_retrain_forgetting
from fedunlearn.judging.forgetting.modified_entropy import modified_entropy

LOGITS = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(4)), elements=st.floats(-30, 30))
NONE = np.zeros((0, 4))
ONE_HOT = np.eye(10)[[3]]


def two_models(logits):
    """Probabilities of a model, and of another one on the same samples."""
    return softmax(logits, axis=1), softmax(np.sin(7 * logits), axis=1)


def test_the_confidence_is_that_of_the_true_class():
    assert confidences(np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([1, 1])).tolist() == [0.3, 0.6]


@given(LOGITS)
def test_the_margin_is_the_logit_of_the_confidence(logits):
    labels = np.arange(len(logits)) % 4
    p = confidences(softmax(logits, axis=1), labels)
    known = (p > 1e-6) & (p < 1 - 1e-6)
    np.testing.assert_allclose(margins(logits, labels)[known], logit(p[known]), atol=1e-6)


def test_the_margin_does_not_saturate():
    logits = np.array([[200, 0, 0], [0, 200, 0]], np.float32)
    np.testing.assert_allclose(margins(logits, np.array([0, 0])), [200 - np.log(2), -200])
    assert logits[0, 0] == 200


@pytest.mark.parametrize("batch", [1, 3])
def test_modified_entropy_of_the_published_row(batch):
    rows = np.repeat([[0.7, 0.2, 0.1]], batch, axis=0)
    np.testing.assert_allclose(modified_entropy(rows, np.zeros(batch, int)), 0.1622, atol=1e-4)


@given(LOGITS)
def test_modified_entropy_is_the_sum_of_its_terms(logits):
    p = softmax(logits, axis=1)
    labels = np.arange(len(p)) % 4
    for row, label, found in zip(p, labels, modified_entropy(p, labels), strict=True):
        others = sum(row[i] * np.log(max(1 - row[i], 1e-30)) for i in range(4) if i != label)
        assert found == pytest.approx(-(1 - row[label]) * np.log(max(row[label], 1e-30)) - others, abs=1e-9)
        assert found >= 0


def test_modified_entropy_at_its_ends():
    assert modified_entropy(ONE_HOT, np.array([3])) == 0
    assert 50 < modified_entropy(ONE_HOT, np.array([4])) < np.inf


@pytest.mark.parametrize(
    ("first", "second", "divergence"),
    [
        (np.eye(10)[[3]], np.eye(10)[[4]], np.log(2)),
        (np.eye(10)[[3]], np.full((1, 10), 0.1), 1 - 0.4744),
        (np.array([[0.7, 0.2, 0.1]]), np.array([[0.1, 0.2, 0.7]]), 0.2531),
    ],
)
def test_published_divergences(first, second, divergence):
    assert js_divergence(first, second) == pytest.approx(divergence, abs=1e-4)
    assert zero_retrain_forgetting(first, second) == pytest.approx(1 - divergence, abs=1e-4)


@given(LOGITS)
def test_divergences_are_those_of_scipy_and_symmetric(logits):
    own, other = two_models(logits)
    with np.errstate(invalid="ignore"):  # scipy takes the root of sums that rounding may leave just below zero
        expected = [np.nan_to_num(jensenshannon(p, q)) ** 2 for p, q in zip(own, other, strict=True)]
    np.testing.assert_allclose(js_divergences(own, other), expected, atol=1e-7)
    np.testing.assert_allclose(js_divergences(own, other), js_divergences(other, own), atol=1e-12)
    assert 0 <= js_divergence(own, other) <= np.log(2) + 1e-12


@given(LOGITS)
def test_a_model_compared_with_itself_is_ideal(logits):
    own = softmax(logits, axis=1)
    assert js_divergence(own, own) == 0
    assert zero_retrain_forgetting(own, own) == 1
    assert activation_distance(own, own) == 0
    assert completeness(own, own) == 1
    assert fingerprint_distance(own, own) == 0


@given(LOGITS)
def test_distances_keep_their_bounds_and_do_not_look_at_the_order_of_samples(logits):
    own, other = two_models(logits)
    turned = np.random.default_rng(0).permutation(len(own))
    for distance, highest in ((activation_distance, np.sqrt(2)), (completeness, 1), (fingerprint_distance, 1)):
        assert 0 <= distance(own, other) <= highest + 1e-12
        assert distance(own[turned], other[turned]) == pytest.approx(distance(own, other))


def test_the_activation_distance_is_a_mean_of_distances():
    own, other = np.eye(3)[[0, 1]], np.eye(3)[[1, 1]]
    assert activation_distance(own[:1], other[:1]) == pytest.approx(np.sqrt(2))
    assert activation_distance(own, other) == pytest.approx(np.sqrt(2) / 2)  # the root of the mean square would be 1


def test_where_the_forgotten_samples_go():
    own, other = np.eye(4)[[0, 0, 1, 2]], np.eye(4)[[0, 1, 1, 1]]
    assert fingerprint(own).tolist() == [0.5, 0.25, 0.25, 0]
    assert fingerprint_distance(own, other) == 0.5
    assert completeness(own, other) == 0.5


@pytest.mark.parametrize(
    "metric", [js_divergence, zero_retrain_forgetting, activation_distance, completeness, fingerprint_distance]
)
def test_nothing_to_forget_is_undefined(metric):
    assert np.isnan(metric(NONE, NONE))
