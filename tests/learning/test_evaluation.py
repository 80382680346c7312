"""Evaluation, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from fedunlearn.learning import Evaluation, evaluate, evaluate_samples
from fedunlearn.models import Architecture, build, to_weights
from tests.learning.workshop import MemorySamples, assert_same


@pytest.mark.parametrize("batch", [1, 7, 512])
def test_accuracy_and_loss_are_those_of_scikit_learn(batch: int) -> None:
    draws = np.random.default_rng(0)
    model = build(Architecture("lenet"), (1, 8, 8), 4, draws)
    images, labels = draws.random((30, 1, 8, 8), np.float32), draws.integers(0, 4, 30)
    result = evaluate(model, images, labels, batch)
    with torch.no_grad():
        expected = model(torch.from_numpy(images)).softmax(1).numpy()
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-4)
    np.testing.assert_array_equal(result.predictions, expected.argmax(1))
    assert result.accuracy == pytest.approx(accuracy_score(labels, expected.argmax(1)))
    assert result.loss == pytest.approx(log_loss(labels, expected, labels=range(4)), rel=1e-4)


def test_the_model_comes_back_as_it_was() -> None:
    draws = np.random.default_rng(0)
    model = build(Architecture("resnet18", norm="batch", width=4), (1, 8, 8), 4, draws)
    images, labels = draws.random((3, 1, 8, 8), np.float32), np.array([0, 1, 2])
    before = to_weights(model)
    images.flags.writeable = False
    model.train()
    evaluate(model, images, torch.from_numpy(labels))
    assert model.training
    model.eval()
    evaluate(model, torch.from_numpy(images.copy()), labels)
    assert not model.training
    assert_same(to_weights(model), before)


def test_no_images_give_nan_not_zero() -> None:
    model = build(Architecture("mlp"), (1, 8, 8), 4, np.random.default_rng(0))
    result = evaluate(model, np.zeros((0, 1, 8, 8), np.float32), np.zeros(0, np.int64))
    assert np.isnan(result.accuracy)
    assert np.isnan(result.loss)
    assert result.probabilities.shape == (0, 4)


class Sparing(MemorySamples):
    """Samples of which no more than `most` images are ever read at once."""

    most = 7

    def images(self, ids: np.ndarray) -> np.ndarray:
        assert len(ids) <= self.most
        return super().images(ids)


def assert_equal(one: Evaluation, other: Evaluation) -> None:
    assert (one.accuracy, one.loss) == (other.accuracy, other.loss)
    np.testing.assert_array_equal(one.predictions, other.predictions)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


@pytest.mark.parametrize("model", [Architecture("lenet"), Architecture("resnet18", norm="batch", width=4)])
@pytest.mark.parametrize("count", [1, 7, 8, 20, 21])
def test_samples_read_in_batches_give_the_same_to_the_last_bit(model: Architecture, count: int) -> None:
    draws = np.random.default_rng(count)
    classifier = build(model, (1, 8, 8), 4, draws)
    samples = Sparing(draws.random((30, 1, 8, 8), np.float32), draws.integers(0, 4, 30))
    ids = draws.permutation(30)[:count]
    whole = evaluate(classifier, samples.x[ids], samples.y[ids], batch=7)
    assert_equal(evaluate_samples(classifier, samples, ids, "cpu", batch=7), whole)
    assert classifier.training


def test_no_samples_give_nan_not_zero() -> None:
    model = build(Architecture("mlp"), (1, 8, 8), 4, np.random.default_rng(0))
    samples = Sparing(np.zeros((3, 1, 8, 8), np.float32), np.zeros(3, np.int64))
    result = evaluate_samples(model, samples, np.zeros(0, np.int64), "cpu")
    assert np.isnan([result.accuracy, result.loss]).all()
    assert result.probabilities.shape == (0, 4)
