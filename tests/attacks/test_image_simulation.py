"""What a client would send, simulated: against the project's own clients."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedunlearn.attacks.gradient_inversion.batch_norm import Gauge, batch_statistics, running_statistics
from fedunlearn.attacks.gradient_inversion.observing import local_work
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.simulation import LocalWork
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.attacks.gradient_inversion.trials import Trials
from fedunlearn.attacks.gradients import direction
from fedunlearn.learning.batches import epoch_batches
from fedunlearn.models import load_weights, to_weights
from tests.learning.workshop import CLASSES, Workshop, perform

SHAPE = (1, 8, 8)
TRAINING = {
    "plain": {"learning-rate": 0.3, "batch-size": 4, "local-epochs": 2},
    "momentum, decay, proximal": {
        "learning-rate": 0.1,
        "batch-size": 4,
        "local-epochs": 3,
        "momentum": 0.9,
        "weight-decay": 0.01,
        "proximal-mu": 0.5,
    },
    "one step": {"learning-rate": 1.0, "batch-size": 50, "local-epochs": 1},
}


def trained_client(name, learning):
    """Return (model at the broadcast, update of client 1, its images and labels in the order of each epoch)."""
    workshop = Workshop([5, 10], {"name": name, "activation": "sigmoid"})
    updates, failures = perform(workshop.worker(), workshop.order("train", learning, [1]))
    assert not failures
    ids = workshop.partition[1]
    size, epochs = min(learning["batch-size"], len(ids)), learning["local-epochs"]
    steps = epoch_batches(workshop.seed, 1, 1, len(ids), size, epochs)
    orders = ids[np.concatenate(steps).reshape(epochs, len(ids))]
    update = replace(updates[1], num_examples=len(ids))
    return workshop.blank().eval(), update, workshop.samples.x[orders], workshop.samples.y[orders]


@pytest.mark.parametrize("learning", TRAINING.values(), ids=TRAINING)
@pytest.mark.parametrize("name", ["mlp", "lenet-zhu"])
def test_simulated_steps_are_the_clients_steps(name, learning):
    model, update, images, labels = trained_client(name, learning)
    work = local_work(learning, 10, InversionSettings(copies="per-epoch"))
    broadcast = to_weights(model)
    observed = {name: change / work.scale for name, change in direction(update, broadcast).items()}
    target = Target(observed, labels, work)
    trials = Trials(model, [target], SHAPE, InversionSettings())
    sent, _ = trials.gradients(torch.from_numpy(images)[None], torch.from_numpy(labels)[None])
    for parameter, array in update.payload.items():
        weights = broadcast[parameter] - work.scale * sent[parameter][0].detach().numpy()
        np.testing.assert_allclose(weights, array, atol=1e-5, err_msg=parameter)
    losses, _ = trials.evaluate(trials.space.candidate(torch.from_numpy(images)[None]))
    assert float(losses[0]) < 1e-9


@pytest.mark.parametrize("size", [1, 3])
def test_a_batch_of_trials_is_so_many_trials(size):
    model = Workshop([4], {"name": "lenet-zhu"}).blank().eval()
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((size, 1, 4, *SHAPE), np.float32))
    labels = torch.from_numpy(rng.integers(0, CLASSES, (size, 1, 4)))
    everything = to_weights(model)
    trials = Trials(model, [Target(everything, labels[0].numpy(), LocalWork(4, 4))] * size, SHAPE, InversionSettings())
    sent, _ = trials.gradients(images, labels)
    for trial in range(size):
        loss = F.cross_entropy(model(images[trial, 0]), labels[trial, 0])
        expected = torch.autograd.grad(loss, list(model.parameters()))
        for (parameter, _), gradient in zip(model.named_parameters(), expected, strict=True):
            torch.testing.assert_close(sent[parameter][trial], gradient, rtol=1e-4, atol=1e-6)


def test_derivatives_against_finite_differences():
    model = Workshop([4], {"name": "lenet-zhu"}).blank().eval()
    rng = np.random.default_rng(0)
    observed = {name: rng.normal(size=weight.shape) for name, weight in to_weights(model).items()}
    target = Target(observed, rng.integers(0, CLASSES, (2, 3)), LocalWork(3, 2, 2, 2, rate=0.2, scale=0.8))
    every = InversionSettings(
        precision="float64", total_variation=0.1, l2=0.1, box=0.3, epoch_order=0.2, space="whitened", start="normal"
    )
    trials = Trials(model, [target], SHAPE, every)
    start = torch.from_numpy(rng.normal(size=(1, 2, 3, *SHAPE)))
    way = torch.from_numpy(rng.normal(size=start.shape)) * 1e-6
    _, slope = trials.evaluate(start)
    ahead, behind = (float(trials.evaluate(start + sign * way)[0]) for sign in (1, -1))
    assert (ahead - behind) / 2 == pytest.approx(float((slope * way).sum()), rel=1e-4)


def resnet(norm):
    workshop = Workshop([6], {"name": "resnet18", "width": 4, "norm": norm}, image_shape=(3, 8, 8))
    learning = {"batch-size": 6}
    updates, failures = perform(workshop.worker(), workshop.order("gradient", learning))
    assert not failures
    return workshop, updates[0]


def test_the_statistics_of_the_batch_follow_from_an_update():
    workshop, update = resnet("batch")
    model = workshop.blank()
    gauge = Gauge(model)
    with torch.no_grad():
        model(torch.from_numpy(workshop.samples.x))  # in training mode
    truth = gauge.take()
    found = batch_statistics(model, workshop.weights(), update.payload)
    for (mean, variance), (m, v) in zip(truth, found, strict=True):
        np.testing.assert_allclose(m, mean, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(v, variance, rtol=1e-3, atol=1e-5)
    assert batch_statistics(model, workshop.weights(), workshop.weights()) is None
    means, variances = zip(*running_statistics(model, workshop.weights()), strict=True)
    assert not np.concatenate(means).any()
    assert (np.concatenate(variances) == 1).all()


@pytest.mark.parametrize("trials", [1, 2])
def test_in_training_mode_the_true_images_have_the_observed_gradient_and_statistics(trials):
    workshop, update = resnet("batch")
    model, weights = workshop.blank(), workshop.weights()
    load_weights(model, weights)
    before = copy.deepcopy(model.state_dict())
    gradient = {name: update.payload[name] for name, _ in model.named_parameters()}
    exact = batch_statistics(model, weights, update.payload)
    target = Target(gradient, workshop.samples.y[None], LocalWork(6, 6), exact, trained=True)
    searched = Trials(model.eval(), [target] * trials, (3, 8, 8), InversionSettings(batch_norm=1.0))
    losses, slopes = searched.evaluate(torch.from_numpy(workshop.samples.x).expand(trials, 1, -1, -1, -1, -1))
    assert float(losses.max()) < 1e-4
    assert slopes.isfinite().all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
