"""SSD: what is dampened and by how much, and importances that do not depend on who holds the batches."""

import numpy as np
import pytest
from scipy.special import softmax

from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.local import one_pass
from fedunlearn.unlearning.small_federation import SmallFederation
from fedunlearn.unlearning.ssd import SsdSettings, dampen, importances, pooled
from tests.unlearning.workbench import branch, carried, ids_of, local_client, net_of


@pytest.mark.parametrize(
    ("of_forgotten", "strength", "expected"),
    [
        (20.0, 1.0, 0.1),
        (10.0, 1.0, 2.0),  # not more than alpha times as important
        (20.0, 50.0, 2.0),  # never amplified
        (0.0, 1.0, 2.0),
    ],
)
def test_one_weight(of_forgotten, strength, expected):
    found = dampen(np.float32([2.0]), np.float32([1.0]), np.float32([of_forgotten]), 10.0, strength)
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(expected)


def test_weights_without_any_importance_are_left_alone():
    np.testing.assert_array_equal(dampen(np.float32([2, -3]), np.zeros(2), np.zeros(2), 10, 1), [2, -3])
    np.testing.assert_array_equal(dampen(np.float32([2, -3]), np.zeros(2), np.ones(2), 10, 1), [0, 0])


def squared_gradients(client, batch_size):
    """Return each batch's squared gradient of the linear model, by hand: (p - y) x^T / n."""
    squares = []
    for positions in one_pass(client.rng("unlearning"), np.arange(len(client.sample_ids)), batch_size):
        images, labels = client.take(positions)
        inputs = ((images - client.model.mean) / client.model.std).flatten(1).numpy()
        logits = inputs @ client.weights["head.weight"].T + client.weights["head.bias"]
        errors = softmax(logits, 1) - np.eye(logits.shape[1])[labels.numpy()]
        squares.append({"head.weight": (errors.T @ inputs / len(positions)) ** 2, "head.bias": errors.mean(0) ** 2})
    return squares


def test_importances_of_a_linear_model_pooled_over_clients_are_the_mean_over_all_their_batches():
    sizes = {0: 20, 1: 7}  # five batches and two, the last of each smaller
    clients = [local_client(net_of(name="logistic"), samples=n, client=c, total=60) for c, n in sizes.items()]
    updates = [importances(client, carried(SsdSettings, batch_size=4)) for client in clients]
    batches = [square for client in clients for square in squared_gradients(client, 4)]
    assert [int(update.payload["batches"]) for update in updates] == [5, 2]
    found = pooled(updates)
    for name in ("head.weight", "head.bias"):
        np.testing.assert_allclose(found[name], np.mean([b[name] for b in batches], axis=0), rtol=1e-4, atol=1e-9)


def test_nobody_trains_and_the_class_is_forgotten(tmp_path):
    small = SmallFederation(tmp_path)
    weights, history = small.trained
    request = small.request("class")
    forgotten, retained = ids_of(small, request)
    federation, seen = branch(small, request), []
    federation.round_listeners.append(lambda _branch, order, _outcomes: seen.append(order))
    method = UNLEARNERS["ssd"]
    after = method(method.Settings(), 4)(weights, request, federation, history)
    assert [order.task.reply for order in seen] == ["statistics"] * 2
    assert [{job.view for job in order.jobs.values()} for order in seen] == [{"forget"}, {"all"}]
    for name, array in weights.items():  # with lambda = 1 weights shrink, or stay
        assert (np.abs(after[name]) <= np.abs(array)).all()
        assert (after[name] * array >= 0).all()
    assert small.accuracy(after, forgotten) < small.accuracy(weights, forgotten) - 0.5
    assert small.accuracy(after, retained) > small.accuracy(weights, retained) - 0.1
