"""The default label attack: what it uses, and the average that it takes with labelled public images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedunlearn.attacks.label_restoration.auto import Auto
from fedunlearn.attacks.label_restoration.averaging import average, signs
from fedunlearn.attacks.label_restoration.bounds import least_counts
from fedunlearn.attacks.label_restoration.margin_matched import Readings
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.attacks.label_restoration.restoring import round_counts, scaled
from tests.attacks.test_label_estimators import CLASSES, Head, batch, counted, estimate
from tests.attacks.test_label_matched import public


def learnt(seed, images=200):
    """Return a head that is sure of the class whose feature is largest, its outputs, and a source of such images."""
    head, rng = Head(seed), np.random.default_rng(seed)
    head.weight[:], head.bias[:] = 4 * np.eye(*head.weight.shape), 0

    def draw(count):
        features, _ = batch(int(rng.integers(2**32)), count)
        odds = head.outputs(features).probabilities
        return features, np.array([rng.choice(CLASSES, p=row) for row in odds])

    return head, head.outputs(*draw(images)), draw


def readings(doubt):
    """Return readings of a batch of 12 images of 3 classes."""
    least, skewed, even = np.array([4.0, 0, 0]), np.array([8.0, 4, 0]), np.full(3, 4.0)
    return Readings(least, skewed, even, 0.5, doubt)


def observed(head, outputs, bias=True):
    seen = head.observe(*batch(3, 12), outputs)
    return seen if bias else Observation({"head.weight": seen.weight}, 12, seen.shares, seen.heads, seen.outputs)


@pytest.mark.parametrize(
    ("labelled", "bias", "used"),
    [
        (True, True, {"margin-matched", "class-conditional-nnls"}),
        (False, True, {"bias-form"}),
        (True, False, {"class-conditional-nnls"}),
        (False, False, {"weight-form"}),
    ],
)
def test_auto_uses_what_it_has(labelled, bias, used):
    head, (features, labels) = Head(3), public(3)
    attack = Auto(Auto.Settings())
    counts = attack.estimate(observed(head, head.outputs(features, labels if labelled else None), bias))
    assert counts.shape == (CLASSES,)
    assert attack._used == used


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=20)
def test_where_nothing_was_learnt_it_is_exact(seed, total):
    head, (features, labels) = Head(seed, scale=0.3), batch(seed, total)
    head.weight[:] = 0  # the answer is the bias alone
    seen = head.observe(features, labels, head.outputs(*public(seed)))
    np.testing.assert_array_equal(round_counts(estimate(Auto, seen), total), counted(labels))


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=20)
def test_on_a_trained_model_counts_keep_their_bounds_and_their_total(seed, total):
    head, outputs, draw = learnt(seed)
    seen = head.observe(*draw(total), outputs)
    counts = estimate(Auto, seen)
    assert (counts >= least_counts(seen) - 1e-9).all()
    assert counts.sum() == pytest.approx(total)


def test_the_average_by_hand():
    explained, present = np.array([0.0, 0, 5]), np.array([1.0, 1, 0])
    # Eight tenths of (6, 4, 2) and two of (0, 0, 12) are (4.8, 3.2, 4).
    np.testing.assert_allclose(average(readings(0.0), explained, present, 12), [4.8, 3.2, 4])
    # Six tenths of (4, 4, 4) and four of (6, 6, 0) are (4.8, 4.8, 2.4).
    np.testing.assert_allclose(average(readings(1.0), explained, present, 12), [4.8, 4.8, 2.4])
    np.testing.assert_allclose(average(readings(0.8), explained, present, 12), [4.8, 4.8, 2.4])
    np.testing.assert_allclose(average(readings(1 / 3), explained, present, 12), [4.8, 4, 3.2])  # half of each


def test_a_sign_of_either_gradient_speaks_for_a_class():
    gradient = {"head.bias": np.array([-0.1, 0.2, 0.1]), "head.weight": np.array([[2.0, -1], [-3, 1], [1, 0]])}
    np.testing.assert_array_equal(signs(Observation(gradient, 4, np.ones(1), (gradient, gradient))), [1, 1, 0])


@given(st.lists(st.floats(0, 9), min_size=1, max_size=6), st.floats(1, 50))
def test_scaling_reaches_the_total(counts, total):
    assert scaled(np.array(counts), total).sum() == pytest.approx(total)


def test_a_thousand_classes_are_left_to_the_bias_form():
    classes, features, rng = 1000, 12, np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), 5)
    outputs = Outputs(rng.normal(size=(5, features)), probabilities, np.arange(5))
    head = {"head.weight": np.zeros((classes, features)), "head.bias": np.zeros(classes)}
    bias = probabilities.mean(axis=0) - np.eye(classes)[[7, 7, 400, 999]].mean(axis=0)
    gradient = {"head.weight": np.outer(bias, np.ones(features)), "head.bias": bias}
    seen = Observation(gradient, 4, np.ones(1), (head, head), (outputs, outputs))
    attack = Auto(Auto.Settings())
    counts = round_counts(attack.estimate(seen), 4)
    assert attack._used == {"bias-form"}
    assert {label: int(counts[label]) for label in np.flatnonzero(counts)} == {7: 2, 400: 1, 999: 1}
