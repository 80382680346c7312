"""Gradient ascent: one step against its closed form, and an end before the model is destroyed."""

import math

import numpy as np
import pytest
import torch

from fedunlearn.models import load_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.neggrad import WATCHED, NegGradSettings, StopRule, neggrad
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import CLASSES, assert_same
from tests.unlearning.workbench import batch_norm_net, branch, carried, ids_of, local_client

WHOLE = {"batch_size": 1000, "momentum": 0.0}  # plain steps on all forgotten data of a client at once
ENDLESS = {"stop_accuracy": 0.0, "stop_loss": 1e9}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("neggrad"), rounds=3)  # no gradient is left once the loss is tiny


@pytest.mark.parametrize("scope", ["class", "client", "sample"])
def test_one_step_raises_biases_by_mean_probability_less_label_frequency(small, scope):
    (weights, history), request, rate = small.trained, small.request(scope), 0.03
    settings = NegGradSettings(epochs=1, learning_rate=rate, recovery_rounds=0, **WHOLE, **ENDLESS)
    after = UNLEARNERS["neggrad"](settings, 4)(weights, request, branch(small, request), history)
    forgotten, _ = ids_of(small, request)
    model, labels = history.model(), small.samples.labels(forgotten)
    load_weights(model, weights)
    with torch.no_grad():
        probabilities = model(torch.from_numpy(small.samples.images(forgotten))).softmax(1).numpy()
    frequencies = np.bincount(labels, minlength=probabilities.shape[1]) / len(labels)
    moved = after["head.bias"] - weights["head.bias"]
    np.testing.assert_allclose(moved, rate * (probabilities.mean(0) - frequencies), atol=1e-7)
    assert moved.sum() == pytest.approx(0, abs=1e-7)
    if scope == "class":
        assert moved.argmin() == 1
        assert (moved > 0).sum() == len(moved) - 1


def known_client(samples=20, net=None):
    """Return a client that forgets everything, and whose model was trained on all of it."""
    client = local_client(net, samples=samples, forget=range(samples))
    steps = torch.optim.Adam(client.model.parameters(), 1e-2)
    for _ in range(60):
        steps.zero_grad()
        client.model.loss(client.images, client.labels).backward()
        steps.step()
    return client


def measured(client):
    """Return (accuracy, loss) of the client's model on its data."""
    with torch.no_grad():
        logits = client.model.eval()(client.images)
        accuracy = (logits.argmax(1) == client.labels).double().mean()
        return accuracy.item(), torch.nn.functional.cross_entropy(logits, client.labels).item()


@pytest.mark.parametrize(
    ("ends", "accuracy", "loss"),
    [
        ({}, 1 / CLASSES, 2 * math.log(CLASSES)),
        ({"stop_accuracy": 0.5, "stop_loss": 1e9}, 0.5, math.inf),
        ({"stop_accuracy": 0.0, "stop_loss": 3.0}, 0.0, 3.0),
    ],
)
def test_it_stops_at_the_first_step_at_which_the_data_are_known_no_better_than_asked(ends, accuracy, loss):
    client = known_client()
    settings = {"epochs": 500, "learning_rate": 0.05, **WHOLE, **ends}
    metrics = neggrad(client, carried(NegGradSettings, **settings)).metrics
    right, cost = measured(client)
    assert right < accuracy or cost > loss
    assert 1 < metrics["steps"] < 500
    assert metrics["stopped"] == 1
    client = known_client()
    shorter = carried(NegGradSettings, **settings | {"epochs": metrics["steps"] - 1})
    assert neggrad(client, shorter).metrics == {"steps": metrics["steps"] - 1, "stopped": 0}
    right, cost = measured(client)
    assert right >= accuracy
    assert cost <= loss


def test_a_model_that_knows_nothing_is_left_alone():
    client = local_client(forget=range(20))
    update = neggrad(client, carried(NegGradSettings, stop_accuracy=1.0))
    assert update.metrics == {"steps": 0, "stopped": 1}
    assert_same(update.payload, client.weights)


def test_of_many_samples_some_are_watched():
    client = local_client(samples=WATCHED + 50, forget=range(WATCHED + 50))
    rule = StopRule(client, np.arange(WATCHED + 50), NegGradSettings(), np.random.default_rng(0))
    assert len(rule._images) == len(np.unique(rule._images.numpy(), axis=0)) == WATCHED


def test_batch_norm_statistics_do_not_follow_forgotten_data():
    client = local_client(batch_norm_net(), forget=range(20))
    after = neggrad(client, carried(NegGradSettings, **ENDLESS)).payload
    for name, array in client.weights.items():
        assert np.array_equal(after[name], array) == ("running" in name or "tracked" in name)


def test_the_class_is_forgotten_and_the_others_are_not(small):
    (weights, history), request = small.trained, small.request("class")
    forgotten, retained = ids_of(small, request)
    after = UNLEARNERS["neggrad"](NegGradSettings(recovery_rounds=0), 4)(
        weights, request, branch(small, request), history
    )
    assert small.accuracy(weights, forgotten) > 0.9
    assert small.accuracy(after, forgotten) < 0.25
    assert small.accuracy(after, retained) > 0.9
