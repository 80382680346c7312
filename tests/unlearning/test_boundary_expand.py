"""Boundary expand: a row is learnt beside the head and is gone again, as if the head itself had been widened."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fedunlearn.models import to_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.boundary_expand import BoundaryExpandSettings, added_row, boundary_expand
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import CLASSES, assert_same
from tests.unlearning.workbench import batch_norm_net, branch, carried, ids_of, local_client

EVERYTHING = range(20)


def test_the_head_has_its_rows_before_and_after():
    client = local_client(forget=EVERYTHING)
    head = client.model.head
    update = boundary_expand(client, carried(BoundaryExpandSettings))
    assert {n: a.shape for n, a in update.payload.items()} == {n: a.shape for n, a in client.weights.items()}
    assert client.model.head is head
    assert head.weight.shape == (CLASSES, 12)
    assert not np.array_equal(update.payload["head.weight"], client.weights["head.weight"])


def test_it_is_training_of_a_wider_head_cut_off_again():
    client = local_client(forget=EVERYTHING)
    row, wide = added_row(client.model.head, client.rng("unlearning")), deepcopy(client.model)
    wide.head = nn.Linear(12, CLASSES + 1)
    with torch.no_grad():
        wide.head.weight.copy_(torch.cat([client.model.head.weight, row.weight]))
        wide.head.bias.copy_(torch.cat([client.model.head.bias, row.bias]))
    steps = torch.optim.SGD(wide.parameters(), 0.05, momentum=0.9, weight_decay=0.01)
    for _ in range(4):
        steps.zero_grad()
        F.cross_entropy(wide(client.images), torch.full((20,), CLASSES)).backward()
        steps.step()
    expected = to_weights(wide)
    for name in ("head.weight", "head.bias"):
        expected[name] = expected[name][:CLASSES]
    settings = {"epochs": 4, "batch_size": 100, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01}
    assert_same(boundary_expand(client, carried(BoundaryExpandSettings, **settings)).payload, expected, 1e-6)


def test_the_row_is_drawn_as_those_of_a_linear_layer():
    weights = added_row(nn.Linear(400, CLASSES), np.random.default_rng(0)).weight.detach()
    assert weights.shape == (1, 400)
    assert 0.9 / 20 < weights.abs().max() <= 1 / 20
    assert weights.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.1)


def test_batch_norm_statistics_do_not_follow_forgotten_data():
    client = local_client(batch_norm_net(), forget=EVERYTHING)
    after = boundary_expand(client, carried(BoundaryExpandSettings)).payload
    for name, array in client.weights.items():
        assert np.array_equal(after[name], array) == ("running" in name or "tracked" in name)


def test_the_class_is_forgotten_and_the_others_come_back(tmp_path):
    small = SmallFederation(tmp_path)
    (weights, history), request, seen = small.trained, small.request("class"), []
    forgotten, retained = ids_of(small, request)
    federation = branch(small, request)
    federation.model_listeners.append(lambda _branch, _call, model: seen.append(model))
    method = UNLEARNERS["boundary-expand"]
    after = method(method.Settings(), 4)(weights, request, federation, history)
    assert {model["head.weight"].shape for model in seen} == {weights["head.weight"].shape}
    assert small.accuracy(seen[0], forgotten) < 0.2
    assert small.accuracy(after, forgotten) < 0.7 * small.accuracy(weights, forgotten)
    assert small.accuracy(after, retained) > 0.9
