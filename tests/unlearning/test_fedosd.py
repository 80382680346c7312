"""FedOSD: the direction's defining properties, the bounded loss, and a recovery that does not turn back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.federation import Update
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.fedosd import FedOsdSettings, beside, mean_gradient, recovered, steepest, uce
from fedunlearn.unlearning.small_federation import SmallFederation
from fedunlearn.unlearning.vectors import flatten
from tests.unlearning.archives import trained
from tests.unlearning.workbench import branch, carried, ids_of, local_client


def orthogonal(direction, rows, tolerance=1e-5):
    for row in rows:
        assert abs(direction @ row) <= tolerance * np.linalg.norm(direction) * np.linalg.norm(row)


@given(st.integers(0, 999), st.integers(0, 8), st.sampled_from([1.0, 1e-3, 1e-6]), st.floats(1e-6, 1e6))
def test_the_direction_is_orthogonal_as_long_as_the_gradient_and_nearest_to_it(seed, clients, spread, scale):
    draws = np.random.default_rng(seed)
    common, wanted = draws.normal(size=50), scale * draws.normal(size=50)
    rows = [common + spread * draws.normal(size=50) for _ in range(clients)]  # nearly parallel for a small spread
    found = steepest(wanted, rows)
    orthogonal(found, rows)
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(wanted))
    if rows and spread > 1e-6:
        shares = np.linalg.lstsq(np.array(rows).T, wanted, rcond=None)[0]
        nearest = wanted - np.array(rows).T @ shares
        assert found @ nearest == pytest.approx(np.linalg.norm(found) * np.linalg.norm(nearest), rel=1e-6)


def test_within_the_span_of_the_retained_gradients_there_is_no_direction():
    rows = [np.array([1.0, 0, 0]), np.array([1.0, 1, 0])]
    assert steepest(np.array([2.0, 3, 0]), rows) is None
    assert steepest(np.zeros(3), rows) is None
    np.testing.assert_allclose(steepest(np.array([2.0, 3, 1e-3]), rows), [0, 0, np.sqrt(13 + 1e-6)], atol=1e-9)
    np.testing.assert_allclose(steepest(np.array([0, 3.0, 4]), [*rows[:1], np.zeros(3), rows[0]]), [0, 3, 4])


def test_the_unlearning_loss_is_bounded():
    labels = torch.tensor([0])
    assert float(uce(torch.tensor([[1e4, 0.0]]), labels)) == pytest.approx(np.log(2))
    assert float(uce(torch.tensor([[-1e4, 0.0]]), labels)) == 0
    even = uce(torch.zeros(3, 4), torch.tensor([0, 1, 3]))
    assert float(even) == pytest.approx(-np.log(1 - 1 / 8))


@pytest.mark.parametrize("loss", ["uce", "cross-entropy"])
def test_the_gradient_is_that_of_the_mean_over_everything_however_it_is_cut(loss):
    client = local_client(samples=20)
    images, labels = client.take(np.arange(20))
    value = uce(client.model(images), labels) if loss == "uce" else client.model.loss(images, labels)
    expected = torch.autograd.grad(value, list(client.model.parameters()))
    update = mean_gradient(client, carried(FedOsdSettings, batch_size=7) | {"loss": loss})
    for (name, _), gradient in zip(client.model.named_parameters(), expected, strict=True):
        np.testing.assert_allclose(update.payload[name], gradient.numpy(), atol=1e-7)


@given(st.integers(0, 999))
def test_a_change_beside_the_way_is_orthogonal_to_it_and_as_long_as_before(seed):
    draws = np.random.default_rng(seed)
    change, away = draws.normal(size=9), draws.normal(size=9)
    found = beside(change, away)
    orthogonal(found, [away])
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(change))
    np.testing.assert_array_equal(beside(change, np.zeros(9)), change)
    np.testing.assert_array_equal(beside(-2 * away, away), np.zeros(9))


@pytest.mark.parametrize("kind", ["weights", "gradient"])
def test_recovery_averages_projected_changes_by_samples(tmp_path, kind):
    algorithm = "fedsgd" if kind == "gradient" else "fedavg"
    history = trained(tmp_path, [(0.0, 0.0)], 1, algorithm=algorithm).history
    start, changes = np.array([1.0, 1.0]), np.array([(3.0, 4.0), (-1.0, 2.0)])
    payloads = [{"w": start + c if kind == "weights" else -c / history.learning_rate} for c in changes]
    updates = [Update(n, kind, payload, size) for n, (payload, size) in enumerate(zip(payloads, (1, 3), strict=True))]
    new = recovered({"w": start}, updates, np.array([0.0, 7.0]), history)
    np.testing.assert_allclose(new["w"], (1 + (5 - 3 * np.sqrt(5)) / 4, 1), atol=1e-12)


@pytest.mark.parametrize("scope", ["client", "class"])
def test_in_a_federation_no_unlearning_step_moves_along_a_retained_gradient_and_no_recovery_turns_back(tmp_path, scope):
    small = SmallFederation(tmp_path, rounds=4)
    (weights, history), asked = small.trained, small.request(scope)
    federation, rounds, models = branch(small, asked), [], []
    federation.round_listeners.append(lambda _branch, order, outcomes: rounds.append((order, outcomes)))
    federation.model_listeners.append(lambda _branch, _call, model: models.append(model))
    UNLEARNERS["fedosd"](FedOsdSettings(rounds=2, recovery_rounds=2, learning_rate=2.0), 4)(
        weights, asked, federation, history
    )
    steps = [flatten(after, history.parameters) - flatten(before, history.parameters)
             for before, after in zip([weights, *models], models, strict=False)]  # fmt: skip
    for number in range(2):
        leaving, staying = (
            [flatten(outcome.payload, history.parameters) for outcome in rounds[2 * number + side][1]]
            for side in (0, 1)
        )
        orthogonal(steps[number], staying, 1e-4)  # the model is float32
        sizes = [outcome.num_examples for outcome in rounds[2 * number][1]]
        mean = np.average(leaving, axis=0, weights=sizes)
        assert sizes == [len(ids) for ids in asked.samples.values()]
        assert np.linalg.norm(steps[number]) == pytest.approx(2 * np.linalg.norm(mean), rel=1e-4)
        assert steps[number] @ mean < 0
    start = flatten(weights, history.parameters)
    for number in (2, 3):
        orthogonal(steps[number], [flatten(models[number - 1], history.parameters) - start], 1e-4)
    assert [order.task.settings.get("loss") for order, _ in rounds] == ["uce", "cross-entropy"] * 2 + [None] * 2


def test_the_forgotten_class_goes_and_the_others_stay(tmp_path):
    small = SmallFederation(tmp_path)
    (weights, history), asked = small.trained, small.request("class")
    unlearned = UNLEARNERS["fedosd"](FedOsdSettings(), 4)(weights, asked, branch(small, asked), history)
    forgotten, retained = ids_of(small, asked)
    assert small.accuracy(weights, forgotten) > 0.9
    assert small.accuracy(unlearned, forgotten) < 0.1
    assert small.accuracy(unlearned, retained) > 0.9
