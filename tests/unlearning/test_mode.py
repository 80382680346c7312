"""MoDe: the geometric mixture, whose labels guide whom, and who trains which model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedunlearn.federation import Update
from fedunlearn.models import load_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.mode import ModeSettings, degraded, guide
from fedunlearn.unlearning.server_draws import DEGRADATION
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.unlearning.archives import trained
from tests.unlearning.workbench import branch, carried, ids_of, local_client


def test_a_frozen_degradation_model_is_reached_geometrically():
    draws = np.random.default_rng(0)
    model, frozen = ({"w": draws.normal(size=5), "count": np.array(n)} for n in (3, 8))
    mixed = model
    for _ in range(56):
        mixed = degraded(mixed, frozen, 0.95)
    assert round(0.95**56, 4) == 0.0566
    np.testing.assert_allclose(mixed["w"], 0.95**56 * model["w"] + (1 - 0.95**56) * frozen["w"], atol=1e-12)
    assert mixed["count"] == 3


class Frozen:
    """An engine whose clients send back what they were sent."""

    def deliver(self, order):
        return [Update(client, "weights", order.weights, 0) for client in order.jobs]


@pytest.mark.parametrize("rounds", [1, 4])
def test_where_nobody_learns_the_mixture_is_all_there_is(tmp_path, rounds):
    past = trained(tmp_path, [(-4.0, 2.0), (3.0, 4.0), (4.0, -3.0)], 2)
    history = replace(past.history, fresh=lambda replica: {"w": np.full(2, 10.0 if replica == DEGRADATION else np.nan)})
    federation = past.trunk.fork("mode")
    federation._engine = Frozen()
    settings = {"rounds": rounds, "recovery_rounds": 2, "keep": 0.7}
    unlearned, _ = past.forget("mode", [0], branch=federation, history=history, **settings)
    left = 0.7**rounds
    np.testing.assert_allclose(unlearned["w"], left * past.model["w"] + (1 - left) * 10.0, atol=1e-12)
    assert federation.spent.rounds == 2 * rounds + 2


def test_the_forgotten_data_get_the_degradation_models_labels_and_the_others_keep_theirs(monkeypatch):
    forget = (1, 4, 5, 11, 17)
    client = local_client(samples=20, forget=forget)
    draws = np.random.default_rng(5)
    degrading = {name: draws.normal(size=a.shape).astype(np.float32) for name, a in client.weights.items()}
    client.attachments = degrading
    images, true = client.take(np.arange(20))
    load_weights(client.model, degrading)
    with torch.no_grad():
        pseudo = client.model(images).argmax(1)
    load_weights(client.model, client.weights)
    assert (pseudo != true)[list(forget)].any()
    expected = {images[n].numpy().tobytes(): int((pseudo if n in forget else true)[n]) for n in range(20)}
    seen, loss = [], client.model.loss
    monkeypatch.setattr(client.model, "loss", lambda x, y: seen.append((x, y)) or loss(x, y))
    update = guide(client, carried(ModeSettings, epochs=2, batch_size=6))
    assert sum(len(y) for _, y in seen) == 40
    for x, y in seen:
        assert [expected[picture.tobytes()] for picture in x.numpy()] == y.tolist()
    assert any(not np.array_equal(update.payload[name], array) for name, array in client.weights.items())


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
def test_the_degradation_model_sees_retained_data_only_and_everybody_is_guided(tmp_path, algorithm):
    small = SmallFederation(tmp_path, rounds=1, algorithm=algorithm)
    (weights, history), asked = small.trained, small.request("client")
    federation, orders, models = branch(small, asked), [], []
    federation.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    federation.model_listeners.append(lambda _branch, _call, model: models.append(model))
    unlearner = UNLEARNERS["mode"](ModeSettings(rounds=2, recovery_rounds=1), 4)
    unlearned = unlearner(weights, asked, federation, history)
    assert [order.task.name for order in orders] == ["train", "mode", "train", "mode", "mode"]
    assert [sorted(order.jobs) for order in orders] == [[0, 2, 3], [0, 1, 2, 3]] * 2 + [[0, 1, 2, 3]]
    assert {job.view for order in orders if order.task.name == "train" for job in order.jobs.values()} == {"retain"}
    for name, array in history.fresh(DEGRADATION).items():
        np.testing.assert_array_equal(orders[0].weights[name], array)
        np.testing.assert_array_equal(orders[2].weights[name], orders[1].task.attachments[name])
        np.testing.assert_array_equal(orders[4].task.attachments[name], orders[3].task.attachments[name])
        np.testing.assert_array_equal(orders[4].weights[name], models[1][name])
        np.testing.assert_array_equal(unlearned[name], models[2][name])


def test_the_forgotten_class_goes_and_the_others_stay(tmp_path):
    small = SmallFederation(tmp_path)
    (weights, history), asked = small.trained, small.request("class")
    unlearned = UNLEARNERS["mode"](ModeSettings(batch_size=8), 4)(weights, asked, branch(small, asked), history)
    forgotten, retained = ids_of(small, asked)
    assert small.accuracy(weights, forgotten) > 0.9
    assert small.accuracy(unlearned, forgotten) < 0.1
    assert small.accuracy(unlearned, retained) > 0.9
