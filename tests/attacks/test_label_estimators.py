"""Every label estimator against a case that can be solved by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls
from scipy.special import softmax

from fedunlearn.attacks.label_restoration.bias_form import BiasForm
from fedunlearn.attacks.label_restoration.class_conditional_nnls import ClassConditionalNNLS
from fedunlearn.attacks.label_restoration.fitting import nonnegative_fit
from fedunlearn.attacks.label_restoration.idlg import IDLG
from fedunlearn.attacks.label_restoration.ilrg import ILRG
from fedunlearn.attacks.label_restoration.llg import LLG, take_labels
from fedunlearn.attacks.label_restoration.llg_plus import LLGPlus
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.outputs import Outputs, measure
from fedunlearn.attacks.label_restoration.restoring import round_counts
from fedunlearn.attacks.label_restoration.rlu import RLU, erroneous_confidence
from fedunlearn.attacks.label_restoration.scale import estimated_scale
from fedunlearn.attacks.label_restoration.weight_form import WeightForm
from fedunlearn.models import load_weights
from fedunlearn.observer.access import AccessRefused
from tests.observer.recorded import blank, digits, fresh, gradient_of

CLASSES, FEATURES = 5, 7


def estimate(form, seen, **settings):
    return form(form.Settings(**settings)).estimate(seen)


def counted(labels, classes=CLASSES):
    return np.bincount(labels, minlength=classes)


class Head:
    """A random linear head, and what it makes of features."""

    def __init__(self, seed, scale=1.0):
        rng = np.random.default_rng(seed)
        self.weight, self.bias = scale * rng.normal(size=(CLASSES, FEATURES)), scale * rng.normal(size=CLASSES)

    @property
    def tensors(self):
        return {"head.weight": self.weight, "head.bias": self.bias}

    def outputs(self, features, labels=None):
        return Outputs(features, softmax(features @ self.weight.T + self.bias, axis=1), labels)

    def observe(self, features, labels, public=None):
        """Return the observation of a FedSGD batch, with this attacker's outputs."""
        errors, total = self.outputs(features, labels).errors, len(labels)
        gradient = {"head.weight": errors.T @ features / total, "head.bias": errors.mean(axis=0)}
        return Observation(gradient, total, np.ones(1), (self.tensors, self.tensors), public and (public, public))


def batch(seed, total=12, classes=CLASSES):
    rng = np.random.default_rng(seed)
    return rng.exponential(size=(total, FEATURES)), rng.integers(0, classes, total)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "silu"])
@pytest.mark.parametrize("scale", [1, 8])  # confident models too
def test_with_the_true_mean_probabilities_the_bias_form_is_exact(activation, scale):
    images, labels = (part[:13] for part in digits())
    model = blank(activation)
    weights = {name: scale * array for name, array in fresh(1, activation).items()}
    load_weights(model, weights)
    gradient = gradient_of(model, images, labels)
    np.testing.assert_allclose(gradient["head.bias"].sum(), 0, atol=1e-6)
    np.testing.assert_allclose(gradient["head.weight"].sum(), 0, atol=1e-4)
    truth = measure(model, images, labels)
    np.testing.assert_allclose(truth.errors.mean(axis=0), gradient["head.bias"], atol=1e-5)
    seen = Observation(gradient, 13, np.ones(1), (weights, weights), (truth, truth))
    np.testing.assert_allclose(estimate(BiasForm, seen), counted(labels, 10), atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 10.0]))
def test_the_bias_form_is_an_identity(seed, scale):
    head, (features, labels) = Head(seed, scale), batch(seed)
    seen = head.observe(features, labels, head.outputs(features))
    np.testing.assert_allclose(estimate(BiasForm, seen), counted(labels), atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_with_equal_feature_sums_the_weight_form_is_exact(seed):
    head, (features, labels) = Head(seed), batch(seed)
    features *= 3 / features.sum(axis=1, keepdims=True)
    seen = head.observe(features, labels, head.outputs(features))
    np.testing.assert_allclose(estimate(WeightForm, seen), counted(labels), atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_when_all_features_are_equal_ilrg_is_exact(seed):
    features, labels = batch(seed)
    seen = Head(seed).observe(np.tile(features[0], (12, 1)), labels)
    np.testing.assert_allclose(estimate(ILRG, seen), counted(labels), atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_a_single_sample_is_found_by_the_estimators_that_need_no_images(seed):
    features, labels = batch(seed, total=1)
    seen = Head(seed).observe(features, labels)
    for form in (ILRG, LLG, IDLG):
        np.testing.assert_array_equal(round_counts(estimate(form, seen), 1), counted(labels))


def test_idlg_names_classes_with_a_negative_row_sum():
    gradient = {"head.weight": np.array([[1.0, 1.0], [-2.0, 1.0], [-1.0, 0.0]])}
    seen = Observation(gradient, 3, np.ones(1), (gradient, gradient))
    assert estimate(IDLG, seen).tolist() == [0, 1, 1]
    with pytest.raises(AccessRefused, match="no bias"):
        estimate(ILRG, seen)


@given(st.lists(st.integers(0, 20), min_size=3, max_size=8).filter(any), st.floats(1e-3, 1e3))
def test_labels_that_weigh_exactly_their_impact_are_counted(counts, scale):
    found = take_labels(-scale * np.array(counts), -scale, sum(counts))
    assert found.tolist() == counts


def test_llg_by_hand():
    # Impact: (-3 - 1) * (1 + 1/4) / 4 = -1.25. Phase 1: classes 0 and 3; then -1.75, 1, 3, 0.25 are left.
    gradient = {"head.weight": np.array([[-3.0], [1.0], [3.0], [-1.0]])}
    for scale in (1, 1e-4):
        seen = Observation({"head.weight": scale * gradient["head.weight"]}, 4, np.ones(1), (gradient, gradient))
        assert estimate(LLG, seen).tolist() == [3, 0, 0, 1]


def test_llg_stops_at_the_number_of_labels():
    assert take_labels(np.array([-1.0, -3.0, -2.0, 6.0]), -1.0, 2).tolist() == [0, 1, 1, 0]


@given(st.integers(0, 2**32 - 1))
def test_statistics_of_classes_are_means_over_their_images(seed):
    (features, labels), head = batch(seed, total=30), Head(seed)
    outputs = head.outputs(features, labels)
    for label in np.unique(labels):
        mine = labels == label
        alone = head.observe(features[mine], labels[mine])
        np.testing.assert_allclose(outputs.class_gradients[label], alone.weight, atol=1e-12)
        np.testing.assert_allclose(outputs.class_probabilities[label] - np.eye(CLASSES)[label], alone.bias, atol=1e-12)
    assert outputs.absent == tuple(np.flatnonzero(counted(labels) == 0))


def test_a_class_without_public_images_is_measured_on_all_of_them():
    features, labels = batch(1, total=30, classes=CLASSES - 1)
    outputs = Head(1).outputs(features, labels)
    assert outputs.absent == (CLASSES - 1,)
    np.testing.assert_allclose(outputs.class_probabilities[-1], outputs.mean_probabilities)
    relabelled = Head(1).observe(features, np.full(30, CLASSES - 1))
    np.testing.assert_allclose(outputs.class_gradients[-1], relabelled.weight)


@pytest.mark.parametrize("on", ["bias", "weights"])
def test_nnls_is_exact_when_the_public_images_are_the_batch(on):
    features, labels = batch(3, total=40)
    head = Head(3)
    seen = head.observe(features, labels, head.outputs(features, labels))
    np.testing.assert_allclose(estimate(ClassConditionalNNLS, seen, on=on), counted(labels), atol=1e-8)


def test_llg_plus_finds_the_mix_of_equally_strong_classes():
    # Orthogonal features of equal sum and a head that knows nothing: a class moves its own row, the others alike.
    head = Head(0, scale=0)
    features = np.eye(CLASSES, FEATURES)
    seen = head.observe(features[[0, 0, 0, 2, 4]], np.array([0, 0, 0, 2, 4]), head.outputs(features, np.arange(5)))
    assert estimate(LLGPlus, seen).tolist() == [3, 0, 1, 0, 1]


def test_rlu_takes_off_the_confidence_of_the_other_classes():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7], [0.3, 0.2, 0.5]])
    outputs = Outputs(np.ones((4, 2)), probabilities, np.array([0, 1, 2, 2]))
    confidence = [(0.2 + 0.2) / 2, (0.1 + 0.2) / 2, (0.1 + 0.2) / 2]
    np.testing.assert_allclose(erroneous_confidence(outputs), confidence)
    gradient = {"head.bias": np.array([-0.3, 0.1, 0.2]), "head.weight": np.zeros((3, 2))}
    seen = Observation(gradient, 9, np.ones(1), (gradient, gradient), (outputs, outputs))
    np.testing.assert_allclose(estimate(RLU, seen), np.array(confidence) - gradient["head.bias"])


def test_statistics_are_interpolated_between_the_two_models():
    ends = tuple(
        Outputs(np.array([[total, 0.0]]), np.array([probabilities]))
        for total, probabilities in ((2.0, [0.0, 1.0]), (6.0, [0.5, 0.5]))
    )
    gradient = {"head.bias": np.zeros(2), "head.weight": np.array([[1.0], [-1.0]])}
    seen = Observation(gradient, 8, np.array([0.4, 0.3, 0.2, 0.1]), (gradient, gradient), ends)
    np.testing.assert_allclose(seen.feature_sums(), [2, 3, 4, 5])
    np.testing.assert_allclose(estimate(BiasForm, seen), 8 * np.array([0.125, 0.875]))
    inverse = 0.4 / 2 + 0.3 / 3 + 0.2 / 4 + 0.1 / 5
    np.testing.assert_allclose(estimate(WeightForm, seen), 8 * np.array([0.125 - inverse, 0.875 + inverse]))


@given(st.integers(0, 2**32 - 1))
def test_the_fit_is_scipys(seed):
    rng = np.random.default_rng(seed)
    columns, target = rng.normal(size=(20, 4)), rng.normal(size=20)
    np.testing.assert_allclose(nonnegative_fit(columns, target), nnls(columns, target)[0], atol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 0.7, 40.0])
def test_the_scale_of_an_update_is_found_when_the_public_images_are_the_batch(scale):
    features, labels = batch(5, total=40)
    head = Head(5)
    seen = head.observe(features, labels, head.outputs(features, labels))
    moved = {name: scale * array for name, array in seen.gradient.items()}
    scaled = Observation(moved, 40, np.ones(1), seen.heads, seen.outputs)
    assert estimated_scale(scaled) == pytest.approx(scale)


def test_a_head_that_moved_unlike_every_class_has_no_scale():
    head = Head(0)
    outputs = head.outputs(np.eye(CLASSES, FEATURES), np.arange(CLASSES))  # the last features are always zero
    moved = np.zeros((CLASSES, FEATURES))
    moved[:, -1] = 1
    seen = Observation({"head.weight": moved}, 40, np.ones(1), (head.tensors, head.tensors), (outputs, outputs))
    with pytest.raises(AccessRefused, match="scale"):
        estimated_scale(seen)


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=12).map(np.array),
    st.integers(1, 200),
)
def test_rounding_keeps_the_total_and_the_proportions(estimate, total):
    counts = round_counts(estimate, total)
    assert counts.sum() == total
    assert (counts >= 0).all()
    positive = np.maximum(estimate, 0)
    weights = positive if positive.any() else np.ones(len(estimate))
    exact = weights / weights.sum() * total
    assert (np.abs(counts - exact) < 1 + 1e-9).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any))
def test_rounding_leaves_counts_alone(counts):
    assert round_counts(np.array(counts, float), sum(counts)).tolist() == counts
