"""kd-subtract: what is subtracted, to the last bit that float32 holds, and that distillation imitates the teacher."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedunlearn.errors import FedUnlearnError
from fedunlearn.federation import Update
from fedunlearn.models import load_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.distillation import divergence
from fedunlearn.unlearning.kd_subtract import KdSubtractSettings, distil
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.unlearning.workbench import branch


@pytest.fixture(scope="module", params=["fedavg", "fedsgd"])
def small(request, tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("small"), rounds=3, algorithm=request.param)


def forget(small, history=None, **settings):
    (weights, trained), asked = small.trained, small.request("client")
    unlearner = UNLEARNERS["kd-subtract"](KdSubtractSettings(**settings), 4)
    return unlearner(weights, asked, branch(small, asked), history or trained)


def test_before_distillation_exactly_the_clients_part_in_every_mean_is_gone(small):
    weights, history = small.trained
    skewed, largest = forget(small, epochs=0), 0.0
    for name in history.parameters:
        brought_in = np.zeros(weights[name].shape)
        for entry in history.rounds:
            broadcast, outcomes = history.archive.read(*entry)
            updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
            (own,) = (update for update in updates if update.client_id == 1)
            change = (
                own.payload[name].astype(np.float64) - broadcast[name]
                if small.algorithm == "fedavg"
                else -history.learning_rate * own.payload[name].astype(np.float64)
            )
            brought_in += own.num_examples / sum(update.num_examples for update in updates) * change
        np.testing.assert_allclose(skewed[name] - weights[name], -brought_in, atol=3e-7)
        largest = max(largest, np.abs(brought_in).max())
    assert largest > 1e-3


def test_without_images_it_refuses(small):
    nothing = replace(small.trained[1], proxy=lambda: np.empty((0, 1, 8, 8), np.float32))
    with pytest.raises(FedUnlearnError, match=r"data\.public"):
        forget(small, nothing)


def mean_divergence(student, teacher, images, history):
    logits = []
    for weights in (student, teacher):
        model = history.model().eval()
        load_weights(model, weights)
        with torch.no_grad():
            logits.append(model(torch.from_numpy(images)))
    return float(divergence(*logits))


def test_distillation_brings_the_student_near_the_teacher(small):
    (teacher, history), skewed = small.trained, forget(small, epochs=0)
    images = history.proxy()
    before, after = (mean_divergence(w, teacher, images, history) for w in (skewed, forget(small, epochs=30)))
    assert after < 0.5 * before


def test_a_student_that_is_the_teacher_does_not_move(small):
    weights, history = small.trained
    draws = np.random.default_rng(0)
    same = distil(weights, weights, history.proxy(), draws, KdSubtractSettings(epochs=2), history)
    for name, array in weights.items():
        np.testing.assert_array_equal(same[name], array)
