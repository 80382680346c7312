"""Angles between gradients that are never written down: against the gradients themselves."""

import numpy as np
import pytest
import torch
from torch import nn

from fedunlearn.attacks.gradient_inversion.convolutions import Kernel
from fedunlearn.attacks.gradient_inversion.objectives import cosine
from fedunlearn.attacks.gradient_inversion.products import CosineDistance, can_tell
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.simulation import LocalWork
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.attacks.gradient_inversion.trials import Trials, together
from fedunlearn.models import Architecture, build

SHAPE, CLASSES = (3, 16, 16), 5
NETS = {
    "logistic": Architecture("logistic"),
    "mlp": Architecture("mlp", "tanh", 7),
    "lenet-zhu": Architecture("lenet-zhu"),
    "lenet": Architecture("lenet", "sigmoid"),
    "convnet": Architecture("convnet", "silu", 4),
    "resnet, group norm": Architecture("resnet18", "silu", 4, "group"),
    "resnet, batch norm": Architecture("resnet18", "silu", 4, "batch"),
}


def network(settings):
    model = build(settings, SHAPE, CLASSES, np.random.default_rng(0), ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))).double()
    rng = np.random.default_rng(1)
    with torch.no_grad():  # normalisation layers begin as if they were not there
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "norm" in name and tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, tuple(tensor.shape))))
    return model.eval()


@pytest.mark.parametrize("lacking", ["nothing", "head.bias"])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("trials", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_angle_and_derivative_are_those_of_the_gradients(name, trials, images, lacking):
    model, rng = network(NETS[name]), np.random.default_rng(2)
    candidates = torch.from_numpy(rng.random((trials, images, *SHAPE))).requires_grad_()
    labels = torch.from_numpy(rng.integers(0, CLASSES, (trials, images)))
    parameters = {n: p for n, p in model.named_parameters() if n != lacking}
    observed = {n: torch.from_numpy(rng.normal(size=tuple(p.shape))) for n, p in parameters.items()}
    found = CosineDistance(model, observed)((candidates - model.mean) / model.std, labels)
    (slope,) = torch.autograd.grad(found.sum(), candidates)
    for trial in range(trials):
        loss = model.loss(candidates[trial], labels[trial])
        gradient = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        expected = cosine([part[None] for part in gradient], [part[None] for part in observed.values()])
        torch.testing.assert_close(found[trial], expected[0], rtol=1e-9, atol=1e-9)
        (wanted,) = torch.autograd.grad(expected.sum(), candidates)
        torch.testing.assert_close(slope[trial], wanted[trial], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("taps", "stride", "padding"),
    [
        ((5, 5), (2, 2), (2, 2)),
        ((3, 3), (2, 2), (1, 1)),
        ((1, 1), (2, 2), (0, 0)),
        ((5, 3), (1, 2), (0, 1)),
        ((6, 6), (3, 3), (3, 3)),
    ],
)
def test_kernels_give_the_derivatives_of_the_convolution(taps, stride, padding, groups, images):
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(size=(groups * 5, 4, *taps)))
    maps = torch.from_numpy(rng.normal(size=(images, groups * 4, 12, 12))).requires_grad_()
    outputs = torch.conv2d(maps, weight, None, stride, padding, 1, groups)
    outer = torch.from_numpy(rng.normal(size=tuple(outputs.shape)))
    (slope,) = torch.autograd.grad(outputs, maps, outer)
    kernel = Kernel(weight, stride, padding, groups)
    for found, expected in ((kernel.run(maps.detach()), outputs), (kernel.input_gradient(outer, maps.detach()), slope)):
        in_a_row = expected.unflatten(1, (groups, -1)).transpose(0, 1).flatten(0, 1)
        torch.testing.assert_close(found, in_a_row)


def test_layers_that_are_not_known_are_not_told():
    assert can_tell(network(NETS["lenet"]))
    assert not can_tell(network(NETS["resnet, batch norm"]).train())
    assert not can_tell(nn.Conv2d(4, 4, 3, groups=2))
    assert not can_tell(nn.Embedding(3, 4))


def test_a_search_takes_the_shorter_way_to_the_same_loss(monkeypatch):
    model = network(NETS["lenet-zhu"])
    rng = np.random.default_rng(0)
    observed = {name: rng.normal(size=tuple(weight.shape)) for name, weight in model.named_parameters()}
    target = Target(observed, rng.integers(0, CLASSES, (1, 2)), LocalWork(2, 2))
    choices = InversionSettings(objective="cosine", optimiser="adam", precision="float64")
    candidates = torch.from_numpy(rng.random((3, 1, 2, *SHAPE)))
    short = Trials(model, [target] * 3, SHAPE, choices).evaluate(candidates)
    monkeypatch.setattr("fedunlearn.attacks.gradient_inversion.trials.can_tell", lambda model: False)
    whole = Trials(model, [target] * 3, SHAPE, choices).evaluate(candidates)
    for one, other in zip(short, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_how_many_trials_go_together():
    small, large = network(NETS["lenet-zhu"]), build(Architecture("convnet"), SHAPE, 10, None)
    assert [together(small, "cpu", images, False) for images in (1, 4, 100)] == [64, 16, 1]
    assert [together(large, "cpu", images, False) for images in (1, 4)] == [1, 1]
    assert [together(large, "cpu", images, True) for images in (1, 4, 8)] == [8, 2, 1]
    assert together(network(NETS["mlp"]), "cpu", 1, False) == 1
    assert together(large, "cuda", 1, False) == 1024
