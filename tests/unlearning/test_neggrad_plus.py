"""NegGrad+: its two ends are plain descent and plain ascent, and between them a step is the one of the formula."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedunlearn.errors import QuorumLost
from fedunlearn.learning.training import train
from fedunlearn.models import load_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.neggrad import NegGradSettings, neggrad
from fedunlearn.unlearning.neggrad_plus import NegGradPlusSettings, neggrad_plus
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import (
    batch_norm_net,
    branch,
    carried,
    ids_of,
    local_client,
    watch_losses,
)

FORGET, RETAIN = range(8), range(8, 20)
ENDLESS = {"stop_accuracy": 0.0, "stop_loss": 1e9}
STEPS = {"epochs": 3, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-3}


def plus(client, **settings):
    return neggrad_plus(client, carried(NegGradPlusSettings, **settings))


def test_alpha_one_is_training_on_the_retained_data():
    found = plus(local_client(forget=FORGET), alpha=1.0, batch_size=100, **STEPS)
    client = local_client()
    retained = replace(client, sample_ids=client.sample_ids[list(RETAIN)])
    settings = {"batch-size": 100, "local-epochs": 3, "learning-rate": 0.05, "momentum": 0.9, "weight-decay": 1e-3}
    assert_same(found.payload, train(retained, settings).payload, 1e-6)
    assert found.metrics["steps"] == 0


@pytest.mark.parametrize(("forget", "batch_size"), [(FORGET, 100), (range(20), 6)])
@pytest.mark.parametrize("ends", [ENDLESS, {"stop_accuracy": 0.15}])
def test_alpha_zero_is_neggrad(forget, batch_size, ends):
    settings = {"batch_size": batch_size, **STEPS, **ends}
    found = plus(local_client(forget=forget), alpha=0.0, **settings)
    expected = neggrad(local_client(forget=forget), carried(NegGradSettings, **settings))
    assert_same(found.payload, expected.payload)
    assert found.metrics == expected.metrics


def gradients(model, images, labels):
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(model.loss(images, labels), list(parameters.values()))
    return {name: gradient.numpy() for name, gradient in zip(parameters, found, strict=True)}


def test_one_step_is_the_one_of_the_formula():
    client, alpha, anchor = local_client(forget=FORGET), 0.7, 0.4
    before = {name: array - np.float32(0.1) for name, array in client.weights.items()}
    kept, gone = (gradients(client.model, *client.take(np.array(part))) for part in (RETAIN, FORGET))
    client.attachments.update(before)
    settings = {"alpha": alpha, "anchor": anchor, "epochs": 1, "batch_size": 100, "learning_rate": 0.1, **ENDLESS}
    after = plus(client, **settings).payload
    for name, array in client.weights.items():
        slope = alpha * (kept[name] + 2 * anchor * (array - before[name])) - (1 - alpha) * gone[name]
        np.testing.assert_allclose(after[name], array - 0.1 * slope, atol=1e-6)


def test_forgotten_batches_are_repeated_over_each_pass_of_the_retained_data():
    client = local_client(forget=FORGET)
    calls = watch_losses(client)
    plus(client, epochs=2, batch_size=4, **ENDLESS)
    kept, gone = ([call.positions for call in calls if call.training == mode] for mode in (True, False))
    assert len(kept) == len(gone) == 6
    assert [sorted(np.concatenate(kept[k : k + 3])) for k in (0, 3)] == [list(RETAIN)] * 2
    assert [sorted(np.concatenate(gone[k : k + 2])) for k in (0, 2, 4)] == [list(FORGET)] * 3


def test_ascent_rests_while_the_stop_rule_holds_and_descent_goes_on():
    rests = plus(local_client(forget=FORGET), alpha=0.5, stop_accuracy=1.0, **STEPS)
    assert rests.metrics == {"steps": 0, "stopped": 1}
    alone = plus(local_client(forget=FORGET), alpha=0.5, stop_accuracy=1.0, stop_loss=1e-9, **STEPS)
    assert_same(rests.payload, alone.payload)
    assert not np.array_equal(rests.payload["head.bias"], local_client().weights["head.bias"])


def test_batch_norm_statistics_follow_the_retained_data_only():
    one_step = {"epochs": 1, "batch_size": 100, **ENDLESS}
    both, retained = (plus(local_client(batch_norm_net(), forget=FORGET), alpha=a, **one_step) for a in (0.5, 1.0))
    names = ["body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"]
    assert_same({n: both.payload[n] for n in names}, {n: retained.payload[n] for n in names})
    assert not np.array_equal(both.payload["head.bias"], retained.payload["head.bias"])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("neggrad-plus"), rounds=3)


def forget(small, scope, history=None, **settings):
    weights, request = small.trained[0], small.request(scope)
    unlearner = UNLEARNERS["neggrad-plus"](NegGradPlusSettings(recovery_rounds=0, **settings), 4)
    return unlearner(weights, request, branch(small, request), history or small.trained[1])


@pytest.mark.parametrize("scope", ["client", "class"])
def test_one_round_of_whole_batches_is_the_step_on_the_pooled_data(small, scope):
    (weights, history), alpha, rate = small.trained, 0.6, 0.05
    model = history.model()
    load_weights(model, weights)
    gone, kept = (
        gradients(model, torch.from_numpy(small.samples.images(ids)), torch.from_numpy(small.samples.labels(ids)))
        for ids in ids_of(small, small.request(scope))
    )
    settings = {"alpha": alpha, "epochs": 1, "batch_size": 1000, "learning_rate": rate, **ENDLESS}
    after = forget(small, scope, **settings)
    for name, slope in kept.items():
        expected = weights[name] - rate * (alpha * slope - (1 - alpha) * gone[name])
        np.testing.assert_allclose(after[name], expected, atol=1e-6)


def test_under_client_scope_nothing_is_done_without_the_retained_clients(small):
    history = small.trained[1]
    silent = replace(history, training=replace(history.training, dropout=1.0))
    with pytest.raises(QuorumLost, match="no retained client answered"):
        forget(small, "client", silent)


def test_the_class_is_forgotten_and_the_others_are_not(small):
    forgotten, retained = ids_of(small, small.request("class"))
    after = forget(small, "class")
    assert small.accuracy(small.trained[0], forgotten) > 0.9
    assert small.accuracy(after, forgotten) < 0.25
    assert small.accuracy(after, retained) > 0.9
