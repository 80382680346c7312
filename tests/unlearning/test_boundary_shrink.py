"""Boundary shrink: the nearest class is found by the old model, is never the own one, and takes the class over."""

import numpy as np
import pytest

from fedunlearn.models import to_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.boundary_shrink import BoundaryShrinkSettings, boundary_shrink, nearest_classes
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import (
    batch_norm_net,
    branch,
    carried,
    ids_of,
    local_client,
    net_of,
    watch_losses,
)

EVERYTHING = range(20)


def logits_by_hand(model, images):
    inputs = (images - model.mean.numpy()) / model.std.numpy()
    weight, bias = (p.detach().numpy() for p in model.head.parameters())
    return inputs.reshape(len(images), -1) @ weight.T + bias


@pytest.mark.parametrize("epsilon", [0.02, 0.1, 0.5])
def test_one_step_is_the_fast_gradient_sign_in_pixels(epsilon):
    client = local_client(net_of(name="logistic"))
    images, labels = client.images.numpy(), client.labels.numpy()
    scores = logits_by_hand(client.model, images)
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    slopes = (probabilities - np.eye(scores.shape[1])[labels]) @ client.model.head.weight.detach().numpy()
    moved = np.clip(images + epsilon * np.sign(slopes).reshape(images.shape), 0, 1)
    expected = logits_by_hand(client.model, moved).argmax(1)
    seen = []
    client.model.register_forward_pre_hook(lambda _model, inputs: seen.append(inputs[0].detach().numpy().copy()))
    found = nearest_classes(client.model, client.images, client.labels, epsilon, 1)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(seen[1], moved, atol=1e-6)
    np.testing.assert_array_equal(client.images, images)


def test_further_steps_are_for_those_that_stayed():
    client = local_client()
    own = client.model(client.images).argmax(1)
    once, often = (nearest_classes(client.model, client.images, own, 0.005, steps) for steps in (1, 40))
    crossed = once != own
    assert 0 < crossed.sum() < 20
    np.testing.assert_array_equal(often[crossed], once[crossed])
    assert (often != own).all()


def test_nobody_is_taught_its_own_class_and_the_success_is_reported():
    client = local_client(forget=EVERYTHING)
    found = nearest_classes(client.model, client.images, client.labels, 0.005, 1)
    crossed = np.flatnonzero(found != client.labels)
    calls = watch_losses(client)
    settings = carried(BoundaryShrinkSettings, epsilon=0.005, attack_steps=1, epochs=2, batch_size=6)
    update = boundary_shrink(client, settings)
    assert 0 < len(crossed) < 20
    assert update.metrics == {"success": len(crossed) / 20}
    for call in calls:
        np.testing.assert_array_equal(call.labels, found[call.positions])
        assert (call.labels != client.labels[call.positions]).all()
    visited = np.concatenate([call.positions for call in calls])
    np.testing.assert_array_equal(np.sort(visited), np.repeat(crossed, 2))


def test_the_model_before_finds_the_classes_and_the_broadcast_learns_them():
    before = net_of(name="mlp", width=12)
    before.initialise(np.random.default_rng(8))
    client = local_client(forget=EVERYTHING, attachments=to_weights(before))
    expected = nearest_classes(before, client.images, client.labels, 0.1, 10)
    assert (expected != nearest_classes(client.model, client.images, client.labels, 0.1, 10)).any()
    calls = watch_losses(client)
    after = boundary_shrink(client, carried(BoundaryShrinkSettings, epochs=1, learning_rate=1e-9)).payload
    for call in calls:
        np.testing.assert_array_equal(call.labels, expected[call.positions])
    assert_same(after, client.weights, 1e-6)


def test_where_no_attack_succeeds_nothing_moves():
    client = local_client(forget=EVERYTHING)
    client.labels.copy_(client.model(client.images).argmax(1))
    update = boundary_shrink(client, carried(BoundaryShrinkSettings, epsilon=1e-7, attack_steps=1))
    assert update.metrics == {"success": 0}
    assert_same(update.payload, client.weights)


def test_batch_norm_statistics_do_not_follow_forgotten_data():
    client = local_client(batch_norm_net(), forget=EVERYTHING)
    after = boundary_shrink(client, carried(BoundaryShrinkSettings)).payload
    for name, array in client.weights.items():
        assert np.array_equal(after[name], array) == ("running" in name or "tracked" in name)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("boundary-shrink"))


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_model_before_travels_with_every_round_of_several(small, rounds):
    (weights, history), request, orders = small.trained, small.request("class"), []
    forgotten, retained = ids_of(small, request)
    federation = branch(small, request)
    federation.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    settings = BoundaryShrinkSettings(rounds=rounds, recovery_rounds=1)
    after = UNLEARNERS["boundary-shrink"](settings, 4)(weights, request, federation, history)
    assert len(orders) == rounds + 1
    for order in orders[:rounds]:
        assert_same(order.task.attachments, weights if rounds > 1 else {})
        assert {job.view for job in order.jobs.values()} == {"forget"}
    assert small.accuracy(after, forgotten) < 0.5
    assert small.accuracy(after, retained) > 0.9
