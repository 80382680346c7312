"""UNSIR: noise on which the model errs, labelled with the class that it was made for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedunlearn.models import load_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.small_federation import SmallFederation
from fedunlearn.unlearning.unsir import UnsirSettings, error_maximising_noise, impair
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import branch, carried, local_client

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("unsir"))


@pytest.fixture
def model(small):
    weights, history = small.trained
    net = history.model()
    load_weights(net, weights)
    return net


def noise_for(model, label, **settings):
    """Return noise and the model's mean loss on it under `label`."""
    pictures = error_maximising_noise(model, label, SHAPE, UnsirSettings(**settings), np.random.default_rng(1))
    with torch.no_grad():
        return pictures, model.loss(torch.from_numpy(pictures), torch.full((len(pictures),), label)).item()


def test_the_loss_rises_while_noise_is_made(model):
    losses = [noise_for(model, 2, noise_steps=steps, noise_penalty=0.0)[1] for steps in (1, 10, 40)]
    assert losses[0] < losses[1] < losses[2]
    start = np.random.default_rng(1).standard_normal((64, *SHAPE)).astype(np.float32)
    with torch.no_grad():
        plain = model.loss(model.mean + model.std * torch.from_numpy(start), torch.full((64,), 2)).item()
    assert plain < losses[0]


def test_the_penalty_keeps_noise_small(model):
    free, held = (noise_for(model, 2, noise_penalty=penalty)[0] for penalty in (0.0, 0.1))
    sizes = [np.square((pictures - 0.5) / 0.5).sum((1, 2, 3)).mean() for pictures in (free, held)]
    assert sizes[1] < 0.5 * sizes[0]


def test_noise_of_two_classes_goes_out_under_their_own_names(small, model):
    weights, history = small.trained
    request = small.request("class")
    two = {c: ids[np.isin(small.samples.labels(ids), (0, 2))] for c, ids in enumerate(small.held)}
    request = replace(request, target=(0, 2), samples=two, classes=(0, 2))
    federation, seen = branch(small, request), []
    federation.round_listeners.append(lambda _branch, order, _outcomes: seen.append(order))
    method = UNLEARNERS["unsir"]
    method(method.Settings(noise_penalty=0.0, recovery_rounds=1), 4)(weights, request, federation, history)
    assert [order.task.name for order in seen] == ["unsir", "train"]
    assert {job.view for order in seen for job in order.jobs.values()} == {"retain"}
    sent = seen[0].task.attachments
    assert sorted(sent) == ["0", "2"]
    model.eval()
    with torch.no_grad():
        losses = {(u, v): model.loss(torch.from_numpy(sent[u]), torch.full((64,), int(v))) for u in sent for v in sent}
    assert losses["0", "0"] > losses["2", "0"]
    assert losses["2", "2"] > losses["0", "2"]


def test_every_picture_of_noise_is_trained_on_with_its_own_label():
    noise = {str(u): np.full((3, *SHAPE), 10.0 + u, np.float32) for u in (2, 0)}  # in no particular order
    client, seen = local_client(samples=40, attachments=noise), []
    plain = client.model.loss
    client.model.loss = lambda images, labels: seen.append((images, labels)) or plain(images, labels)
    impair(client, carried(UnsirSettings, noise_share=0.5, batch_size=8))
    images, labels = torch.cat([i for i, _ in seen]), torch.cat([y for _, y in seen])
    brightness = images.mean((1, 2, 3))
    assert len(images) == 40 + 2 * 20
    for u in (0, 2):
        made = brightness == 10.0 + u
        assert made.sum() > 0
        assert (labels[made] == u).all()
    own = brightness < 2
    assert sorted(labels[own].tolist()) == sorted(client.labels.tolist())


def test_attachments_may_arrive_in_any_order():
    pictures = {u: np.full((3, *SHAPE), float(u), np.float32) for u in ("0", "2", "4")}
    orders = [sorted(pictures), sorted(pictures, reverse=True)]
    results = [
        impair(local_client(attachments={u: pictures[u] for u in order}), carried(UnsirSettings, noise_share=0.2))
        for order in orders
    ]
    assert_same(results[0].payload, results[1].payload)


@pytest.mark.parametrize(("options", "rounds"), [({}, 4), ({"rounds": 2, "recovery_rounds": 5}, 7), ({"rounds": 6}, 6)])
def test_its_rounds_are_those_that_impair_and_those_that_repair(options, rounds):
    method = UNLEARNERS["unsir"]
    assert method(method.Settings(**options), 4).extra_rounds == rounds
