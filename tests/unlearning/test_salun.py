"""SalUn: the mask is that of the pooled data, as dense as asked, and what it leaves out never moves."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.salun import SalUnSettings, pooled, salient, salun_gradients
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import (
    batch_norm_net,
    branch,
    carried,
    ids_of,
    local_client,
)


@given(st.integers(0, 10**6), st.floats(0.01, 1.0), st.booleans())
def test_the_mask_holds_the_largest_of_all_tensors_together(seed, fraction, ties):
    draws = np.random.default_rng(seed)
    gradients = {name: draws.normal(0, scale, (3, 4)) for name, scale in (("a", 1.0), ("b", 5.0))}
    gradients["c"] = np.zeros(4) if ties else draws.normal(size=4)
    masks = salient(gradients, fraction)
    sizes = np.concatenate([np.abs(array).ravel() for array in gradients.values()])
    chosen = np.concatenate([masks[name].ravel() for name in gradients])
    assert {name: mask.shape for name, mask in masks.items()} == {name: g.shape for name, g in gradients.items()}
    assert chosen.dtype == bool
    assert chosen.sum() == round(fraction * 28)
    assert sizes[chosen].min(initial=np.inf) >= sizes[~chosen].max(initial=0)


@pytest.mark.parametrize("net", [None, batch_norm_net])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_pooled_gradients_are_those_of_one_client_with_all_the_data(net, batch_size):
    sizes = {0: 20, 1: 7}
    clients = [local_client(net and net(), samples=n, client=c, total=60) for c, n in sizes.items()]
    answers = [salun_gradients(client, carried(SalUnSettings, batch_size=batch_size)) for client in clients]
    found = pooled([answer.payload for answer in answers])
    model = clients[0].model.eval()
    model.zero_grad()
    images, labels = (torch.cat([getattr(client, part) for client in clients]) for part in ("images", "labels"))
    F.cross_entropy(model(images), labels, reduction="sum").backward()
    assert [answer.num_examples for answer in answers] == [20, 7]
    assert found.keys() == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("salun"))


def forget(small, name, federation, scope="class", **settings):
    (weights, history), method = small.trained, UNLEARNERS[name]
    unlearner = method(method.Settings(recovery_rounds=0, **settings), 4)
    return unlearner(weights, small.request(scope), federation, history)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("scope", ["class", "client"])
def test_weights_outside_the_mask_are_where_they_were_in_spite_of_momentum_and_decay(small, scope, optimiser):
    federation, orders = branch(small, small.request(scope)), []
    federation.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    steps = {"optimiser": optimiser, "learning_rate": 1e-3, "momentum": 0.9, "weight_decay": 5e-4}
    after = forget(small, "salun", federation, scope, rounds=2, fraction=0.3, **steps)
    mask, before = orders[1].task.attachments, small.trained[0]
    assert [order.task.reply for order in orders] == ["statistics", "weights", "weights"]
    assert sum(m.sum() for m in mask.values()) == round(0.3 * sum(m.size for m in mask.values()))
    for name, free in mask.items():
        np.testing.assert_array_equal(after[name][~free], before[name][~free])
    moved = np.concatenate([(after[name] != before[name])[free] for name, free in mask.items()])
    assert moved.mean() > 0.99


def test_with_every_weight_in_the_mask_it_is_random_label(small):
    request = small.request("class")
    one, other = branch(small, request), branch(small, request)
    other.calls += 1  # the round of statistics: from here on both draw the same
    full, plain = forget(small, "salun", one, fraction=1.0), forget(small, "random-label", other)
    assert_same(full, plain)
    assert one.calls == other.calls


def test_the_class_is_forgotten_and_the_others_are_not(small):
    request = small.request("class")
    forgotten, retained = ids_of(small, request)
    after = forget(small, "salun", branch(small, request))
    assert small.accuracy(after, forgotten) < 0.1
    assert small.accuracy(after, retained) > 0.9
