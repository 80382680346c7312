"""Relearning: a model that knows needs no step, one that never knew needs some, and none is changed by it."""

import numpy as np
import pytest
import torch

from fedunlearn.judging.forgetting.relearning import BATCH, EPOCHS, anamnesis_index, relearn_steps
from fedunlearn.learning import evaluate
from fedunlearn.models import Architecture, build, to_weights
from tests.learning.workshop import assert_same

CLASSES = 3


def bars(count=96):
    """Noise with a bright bar whose place is the class."""
    images = 0.5 * np.random.default_rng(0).random((count, 1, 8, 8), np.float32)
    labels = np.arange(count) % CLASSES
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] += 0.5
    return images, labels


def fresh(seed=0):
    return build(Architecture("mlp"), (1, 8, 8), CLASSES, np.random.default_rng(seed))


def steps(model, original=1.0, count=96, seed=0):
    return relearn_steps(model, *bars(count), original, np.random.default_rng(seed))


@pytest.fixture
def knowing():
    model, (images, labels) = fresh(), map(torch.from_numpy, bars())
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        model.loss(images, labels).backward()
        optimiser.step()
    assert evaluate(model, images, labels).accuracy == 1
    return model


def test_the_steps_are_those_of_an_ordinary_loop():
    images, labels = map(torch.from_numpy, bars())
    model, draws, taken = fresh(), np.random.default_rng(0), 0
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    while evaluate(model, images, labels).accuracy < 0.95:
        if taken % 3 == 0:
            order = draws.permutation(96)
        batch = order[32 * (taken % 3) :][:32]
        optimiser.zero_grad()
        model.loss(images[batch], labels[batch]).backward()
        optimiser.step()
        taken += 1
    assert steps(fresh()) == taken > 3


def test_what_was_never_forgotten_takes_no_step(knowing):
    assert steps(knowing) == 0


def test_five_percent_of_the_original_accuracy_may_be_missing():
    assert steps(fresh(), original=0.2) <= steps(fresh(), original=0.9) <= steps(fresh(), original=1.0)
    images, labels = bars()
    untrained = evaluate(fresh(), images, labels).accuracy
    assert steps(fresh(), original=untrained / 0.95) == 0
    assert steps(fresh(), original=untrained / 0.95 + 0.02) > 0


def test_it_is_given_up_after_ten_epochs():
    images, labels = np.zeros((70, 1, 8, 8), np.float32), np.arange(70) % CLASSES  # equal images of all classes
    found = relearn_steps(fresh(), images, labels, 1.0, np.random.default_rng(0))
    assert found == EPOCHS * -(-70 // BATCH)


def test_the_model_is_left_as_it_was(knowing):
    model = fresh().eval()
    before = to_weights(model)
    assert steps(model) == steps(model) > 0
    assert not model.training
    assert_same(to_weights(model), before)


def test_nothing_to_learn_is_undefined():
    assert np.isnan(steps(fresh(), count=0))
    assert np.isnan(steps(fresh(), original=0.0))


@pytest.mark.parametrize(
    ("own", "retrained", "expected"),
    [(10, 10, 1), (0, 0, 1), (2, 20, 0.1), (0, 20, 0), (60, 20, 3), (3, 0, np.nan), (np.nan, 3, np.nan)],
)
def test_the_anamnesis_index(own, retrained, expected):
    assert anamnesis_index(own, retrained) == pytest.approx(expected, nan_ok=True)
