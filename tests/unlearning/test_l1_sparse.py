"""l1-sparse: the penalty's schedule, its gradient, and ordinary training where there is none."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fedunlearn.learning.training import gradient
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.l1_sparse import L1SparseSettings, l1_sparse_gradient, l1_sparse_train, schedule
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import branch, local_client

LEARNING = {"batch-size": 100, "learning-rate": 0.1}


@given(st.floats(1e-6, 1), st.integers(1, 30), st.integers(0, 35))
def test_the_penalty_falls_in_equal_steps_from_alpha_to_nothing(alpha, rounds, without):
    values = schedule(alpha, rounds, without)
    decaying = max(rounds - without, 0)
    assert len(values) == rounds
    assert values[decaying:] == [0.0] * (rounds - decaying)
    np.testing.assert_allclose(values[:decaying], np.linspace(alpha, 0, decaying + 1)[:-1])


@pytest.mark.parametrize("alpha", [0.0, 0.02])
def test_the_gradient_is_that_of_the_loss_and_the_signs(alpha):
    client = local_client()
    client.weights["head.bias"][0] = 0
    client.model.head.bias.data[0] = 0
    plain = gradient(replace(client), LEARNING).payload
    found = l1_sparse_gradient(client, LEARNING | {"l1": alpha}).payload
    for name, array in client.weights.items():
        np.testing.assert_allclose(found[name], plain[name] + alpha * np.sign(array), atol=1e-6)


def test_a_local_step_goes_down_loss_and_norm():
    client, alpha = local_client(), 0.02
    slope = gradient(local_client(), LEARNING).payload
    found = l1_sparse_train(client, LEARNING | {"l1": alpha}).payload
    for name, array in client.weights.items():
        np.testing.assert_allclose(found[name], array - 0.1 * (slope[name] + alpha * np.sign(array)), atol=1e-6)


@pytest.mark.parametrize("settings", [LEARNING, {}])
def test_the_model_has_its_own_loss_again_afterwards_even_after_a_failure(settings):
    client = local_client()
    with nullcontext() if settings else pytest.raises(ValueError, match="batch-size"):
        l1_sparse_train(client, settings | {"l1": 1.0})
    expected = F.cross_entropy(client.model(client.images), client.labels)
    torch.testing.assert_close(client.model.loss(client.images, client.labels), expected)


def forget(small, name, **settings):
    (weights, history), request, method = small.trained, small.request("class"), UNLEARNERS[name]
    return method(method.Settings(**settings), 4)(weights, request, branch(small, request), history)


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
def test_without_penalty_it_is_finetune(tmp_path, algorithm):
    small = SmallFederation(tmp_path, rounds=2, algorithm=algorithm)
    expected = forget(small, "finetune")
    assert_same(forget(small, "l1-sparse", alpha=0.0), expected)
    assert_same(forget(small, "l1-sparse", alpha=0.1, rounds_without=4), expected)
    assert not np.array_equal(forget(small, "l1-sparse", alpha=0.1)["head.bias"], expected["head.bias"])


def test_the_last_rounds_are_ordinary(tmp_path):
    small, orders = SmallFederation(tmp_path, rounds=1), []
    (weights, history), request = small.trained, small.request("class")
    federation = branch(small, request)
    federation.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    UNLEARNERS["l1-sparse"](L1SparseSettings(alpha=0.1, rounds_without=2), 4)(weights, request, federation, history)
    assert [order.task.settings.get("l1") for order in orders] == [0.1, 0.05, None, None]
    assert [order.task.name for order in orders] == ["l1-sparse-train"] * 2 + ["train"] * 2


def test_sparsity_grows_with_the_penalty(tmp_path):
    small = SmallFederation(tmp_path)
    shares = []
    for alpha in (0.0, 0.005, 0.02):
        after = forget(small, "l1-sparse", alpha=alpha)
        entries = np.concatenate([array.ravel() for array in after.values()])
        shares.append(float((np.abs(entries) < 5e-3).mean()))
    assert shares[0] + 0.1 < shares[1]
    assert shares[1] + 0.1 < shares[2]
