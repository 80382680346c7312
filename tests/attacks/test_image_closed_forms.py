"""Images and ranks that follow from formulas."""

import numpy as np
import pytest
import torch

from fedunlearn.attacks import ATTACKS
from fedunlearn.attacks.gradient_inversion.conditioning import jacobian, jacobian_rank
from fedunlearn.attacks.gradient_inversion.linear_analytic import first_linear
from fedunlearn.attacks.gradient_inversion.simulation import LocalWork
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.federation import Order, Task, Update
from fedunlearn.models import Architecture, build, load_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import SHAPE, Federation, Watcher, blank, digits, fresh, gradient_of, knowledge


def analytic(tape, **choices):
    watcher = Watcher()
    attack = ATTACKS["linear-analytic"](ATTACKS["linear-analytic"].Settings(**choices))
    return attack(tape.view(watcher), knowledge(tape, watcher), np.random.default_rng(0))


def test_one_image_is_read_off_exactly(tmp_path):
    tape, federation = Tape(tmp_path), Federation([np.arange(20), np.arange(20, 40)], batch=1)
    federation.run(tape, "trunk", fresh(), 1)
    finding = analytic(tape, clients="all")
    for client, images in enumerate(finding.images):
        truth = digits()[0][federation.batches[1, client]]
        assert np.abs(images - truth).max() < 1e-5
        np.testing.assert_array_equal(finding.labels[client], digits()[1][federation.batches[1, client]])
    assert finding.notes == {"layer": "body.fc1", "target": "gradient"}


def test_an_image_that_has_units_of_its_own_is_read_off_exactly(tmp_path):
    weights, model = fresh(activation="relu"), blank("relu")
    load_weights(model, weights)
    images, labels = digits()[0][:3], digits()[1][:3]
    updates = [Update(0, "gradient", gradient_of(model, images, labels), 3, {"loss": 1.0})]
    tape = Tape(tmp_path)
    tape.on_round("trunk", Order(1, Task("work", {}, "gradient"), weights, {}), updates)
    found = analytic(tape).images[0]
    on = model.features(torch.from_numpy(images)).detach().numpy() > 0
    own = [int((on[image] & (on.sum(axis=0) == 1)).sum()) for image in range(3)]
    assert min(own) >= 2  # units that this image alone sets off
    assert found.shape == (3, *SHAPE)
    errors = np.abs(found[:, None] - images[None]).reshape(3, 3, -1).max(axis=2)
    assert (errors.min(axis=0) < 1e-5).all()


def test_a_first_layer_that_is_no_linear_one_is_refused():
    assert first_linear(blank(name="logistic")) == "head"
    with pytest.raises(AccessRefused, match=r"body\.conv1"):
        first_linear(blank(name="lenet-zhu"))


def of_labels(labels, name="logistic", **work):
    """Return a model with zero weights, images, and the target of a batch with these labels."""
    model = blank(name=name)
    labels = np.array(labels)
    target = Target(gradient_of(model, digits()[0][: len(labels)], labels), labels[None], LocalWork(len(labels), 99))
    return model, target, digits()[0][: len(labels)]


@pytest.mark.parametrize(
    ("labels", "directions"),
    [([3], 1), ([1, 2], 2), ([4, 4], 1), ([0, 1, 1, 5], 3), ([7, 7, 7, 7], 1), (list(range(10)), 9)],
)
def test_the_rank_of_logistic_regression_at_zero_is_known(labels, directions):
    """At zero weights dL/dW = mean (1/C - y) x': images enter by class, and the class residuals add up to zero."""
    assert jacobian_rank(*of_labels(labels)) == directions * 64


@pytest.mark.parametrize("images", [1, 2, 4, 8])
def test_the_rank_of_a_lenet_follows_from_a_count_of_its_layers(images):
    """A batch acts on a layer through its outputs z; known z, the layer adds P - o^2 - o equations, those below all."""
    model = build(Architecture("lenet-zhu", width=2), SHAPE, 10, np.random.default_rng(3), (0.3, 0.37))
    labels = np.arange(images)
    target = Target(gradient_of(model, digits()[0][:images], labels), labels[None], LocalWork(images, images))
    bound = images * 64
    below = 0
    for outputs, parameters, channels in ((32, 52, 2), (8, 102, 2), (8, 102, 2)):  # of each convolution, 8x8 pixels
        bound = min(bound, images * outputs + parameters - channels**2 - channels + below)
        below += parameters
    assert jacobian_rank(model, target, digits()[0][:images]) == bound


def test_the_jacobian_against_differences():
    model, target, images = of_labels([1, 2])
    load_weights(model, fresh(name="logistic"))
    derivatives = jacobian(model, target, images)
    assert derivatives.shape == (650, 128)
    way = np.random.default_rng(0).normal(size=images.shape).astype(np.float32)
    sent = [gradient_of(model, images + sign * np.float32(0.01) * way, target.labels[0]) for sign in (1, -1)]
    ahead, behind = (np.concatenate([part.ravel() for part in one.values()]) for one in sent)
    np.testing.assert_allclose(derivatives @ way.ravel(), (ahead - behind) / 0.02, atol=1e-3)


def test_the_rank_is_in_the_notes_when_asked_for(tmp_path):
    tape, federation = Tape(tmp_path), Federation([np.arange(20)], batch=2)
    federation.run(tape, "trunk", fresh(), 1)
    watcher = Watcher()
    attack = ATTACKS["dlg"](ATTACKS["dlg"].Settings(rank=True, steps=40))
    notes = attack(tape.view(watcher), knowledge(tape, watcher), np.random.default_rng(0)).notes
    assert notes["jacobian-rank"] == [128]
