"""The diffusion model: its logits and its loss by hand, what it draws, what it generates."""

import sys

import numpy as np
import pytest
import torch

from fedunlearn.errors import ScenarioError
from fedunlearn.models import Architecture, build, to_weights
from fedunlearn.models.diffusion import CLASSIFIED_AT, Diffusion, scheduler
from tests.learning.workshop import Workshop, assert_same, perform

pytest.importorskip("diffusers", reason="fedunlearn[diffusion] is not installed")

CLASSES = 4
LABELS = torch.tensor([0, 2, 2, 0, 2])


def make(seed=0, shape=(1, 8, 8), width=8) -> Diffusion:
    model = build(Architecture("diffusion", width=width), shape, CLASSES, np.random.default_rng(seed))
    assert isinstance(model, Diffusion)
    return model


@pytest.fixture(scope="module")
def model() -> Diffusion:
    return make()


def pictures(n=5, shape=(1, 8, 8)):
    return torch.from_numpy(np.random.default_rng(1).random((n, *shape), dtype=np.float32))


def test_it_is_the_net_of_the_reference():
    model = make(shape=(1, 16, 16), width=16)
    assert sum(p.numel() for p in model.body.parameters()) == 252_497
    layers = model.prunable()
    assert len(layers) == 4
    assert {tuple(layer.weight.shape) for layer in layers.values()} == {(32, 128)}
    assert all(f"{name}.weight" in model.state_dict() for name in layers)
    assert abs(float(model.head.weight.detach().std()) - 1) < 0.2  # tokens as of an embedding, not of a linear layer


@torch.no_grad()
def test_a_logit_is_minus_the_error_of_the_predicted_noise(model):
    images = pictures(2)
    logits, kept = model.eval()(images), scheduler().alphas_cumprod
    for n, image in enumerate(images):
        for label in range(CLASSES):
            errors = []
            for time, noise in zip(CLASSIFIED_AT, model.fixed_noise, strict=True):
                noisy = kept[time].sqrt() * (2 * image - 1) + (1 - kept[time]).sqrt() * noise
                token = model.head.weight[label][None, None]
                found = model.body(noisy[None], time, encoder_hidden_states=token).sample[0]
                errors.append(float(((found - noise) ** 2).sum()))
            assert float(logits[n, label]) == pytest.approx(-np.mean(errors), rel=1e-4)


def gradients(model, labels, draws):
    model.draws = np.random.default_rng(draws)
    found = torch.autograd.grad(model.loss(pictures(len(labels)), labels), list(model.parameters()))
    return dict(zip([name for name, _ in model.named_parameters()], found, strict=True))


def test_every_parameter_learns_and_tokens_of_absent_classes_do_not():
    rows = gradients(make(), LABELS, 3)["head.weight"].abs().sum(1)
    assert (rows > 0).tolist() == [True, False, True, False]
    found = gradients(make(), LABELS, 3)
    assert all(torch.isfinite(g).all() for g in found.values())


def test_the_null_token_learns_from_the_samples_whose_class_is_withheld(monkeypatch):
    for share, which in ((0.0, "head.weight"), (1.0, "null")):
        monkeypatch.setattr("fedunlearn.models.diffusion.DROPPED", share)
        found = gradients(make(), LABELS, 3)
        assert {name for name in ("head.weight", "null") if found[name].any()} == {which}


def test_the_loss_follows_from_its_draws(model):
    losses = []
    for seed in (0, 0, 1):
        model.draws = np.random.default_rng(seed)
        losses.append(model.loss(pictures(), LABELS).item())
    assert losses[0] == losses[1] != losses[2]
    model.draws = None
    assert model.loss(pictures(), LABELS).item() == model.loss(pictures(), LABELS).item()


def test_a_client_draws_the_same_whoever_works_beside_it():
    shop = Workshop([6, 5], {"name": "diffusion", "width": 8})
    settings = {"batch-size": 4, "learning-rate": 0.002, "optimiser": "adamw"}
    together, failures = perform(shop.worker(), shop.order("train", settings))
    assert not failures
    alone, _ = perform(shop.worker(), shop.order("train", settings, clients=[1]))
    assert_same(dict(alone[1].payload), dict(together[1].payload))


def test_generated_images_follow_from_the_generator(model):
    first, again = (model.generate(LABELS, np.random.default_rng(0), steps=3) for _ in range(2))
    assert first.shape == (5, 1, 8, 8)
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, model.generate(LABELS, np.random.default_rng(1), steps=3))
    assert len(list(model.denoise(LABELS, np.random.default_rng(0), 4))) == 4


def test_guidance_goes_away_from_the_null_token():
    model = make()
    plain, guided = (model.generate(LABELS, np.random.default_rng(0), 3, w) for w in (0.0, 2.0))
    assert not torch.equal(plain, guided)
    with torch.no_grad():
        model.head.weight.copy_(model.null.expand_as(model.head.weight))
    plain, guided = (model.generate(LABELS, np.random.default_rng(0), 3, w) for w in (0.0, 2.0))
    torch.testing.assert_close(plain, guided, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({"width": 12}, (1, 8, 8), "multiple of 8"),
        ({}, (1, 9, 8), "set data.side"),
        ({"activation": "relu"}, (1, 8, 8), "made of silu"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(settings, shape, message):
    with pytest.raises(ScenarioError, match=message):
        build(Architecture("diffusion", **settings), shape, CLASSES, None)


def test_it_has_no_features(model):
    with pytest.raises(ScenarioError, match="no features"):
        model.features(pictures())


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ScenarioError, match=r"install fedunlearn\[diffusion\]"):
        make()


def test_its_weights_travel_whole(model):
    assert {"null", "head.weight"} < set(to_weights(model))
    assert not {"fixed_noise", "mean", "std"} & set(to_weights(model))
