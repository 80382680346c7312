"""The divergence against torch's own, and its exact zero; teachers that nobody moves."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fedunlearn.models import to_weights
from fedunlearn.unlearning.distillation import divergence, original, original_teacher, teacher
from fedunlearn.unlearning.phases import LocalSettings
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import batch_norm_net, local_client

temperatures = st.floats(0.5, 8)


def logits(seed, dtype=torch.float64):
    draws = np.random.default_rng(seed)
    return torch.tensor(draws.normal(0, 3, (6, 4)), dtype=dtype, requires_grad=True)


@given(st.integers(0, 10**6), temperatures)
def test_it_is_the_batch_mean_of_the_divergence_times_the_squared_temperature(seed, temperature):
    student, target = logits(seed), logits(seed + 1).detach()
    found = divergence(student, target, temperature)
    scaled = (F.log_softmax(x / temperature, 1) for x in (student, target))
    expected = temperature**2 * F.kl_div(*scaled, reduction="batchmean", log_target=True)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(loss, student)[0] for loss in (found, expected)]
    torch.testing.assert_close(*slopes)


@given(st.integers(0, 10**6), temperatures)
def test_equal_logits_give_exactly_nothing(seed, temperature):
    student = logits(seed, torch.float32)
    found = divergence(student, student.detach().clone(), temperature)
    assert found.item() == 0
    assert not torch.autograd.grad(found, student)[0].any()


@given(st.integers(0, 10**6))
def test_the_target_gets_no_gradient(seed):
    target = logits(seed + 1)
    divergence(logits(seed), target).backward()
    assert target.grad is None


@pytest.mark.parametrize("net", [None, batch_norm_net()])
def test_a_teacher_stays_as_it_was(net):
    client = local_client(net)
    kept = {name: array + np.ones_like(array) for name, array in client.weights.items()}
    old = teacher(client, kept)
    old(client.images)
    with torch.no_grad():
        for parameter in client.model.parameters():
            parameter.zero_()
    assert_same(to_weights(old), kept)
    assert not any(parameter.requires_grad for parameter in old.parameters())


def test_the_original_travels_only_where_the_broadcast_is_another():
    client = local_client()
    before = {name: array + 1 for name, array in client.weights.items()}
    assert original(before, LocalSettings(rounds=1)) == {}
    assert_same(to_weights(original_teacher(client)), client.weights)
    later = local_client(attachments=original(before, LocalSettings(rounds=2)))
    assert_same(to_weights(original_teacher(later)), before)
