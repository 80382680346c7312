"""The parts of model inversion against closed forms, libraries, and each other."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from fedunlearn.attacks.model_inversion.augmented_gmi import entropy_of_mean
from fedunlearn.attacks.model_inversion.brep_mi import BrepMiSettings, on_sphere, repelled
from fedunlearn.attacks.model_inversion.deep_inversion import Moments
from fedunlearn.attacks.model_inversion.genetic_inversion import BreedingSettings, breed, children, repeated
from fedunlearn.attacks.model_inversion.ked_mi import KedMiSettings, recover
from fedunlearn.attacks.model_inversion.latent_search import DescentSettings
from fedunlearn.attacks.model_inversion.latent_search import descend as descend_latents
from fedunlearn.attacks.model_inversion.losses import LOSSES, best_other
from fedunlearn.attacks.model_inversion.natural_gradient import DiagonalNaturalGradient
from fedunlearn.attacks.model_inversion.pixel_search import PixelSettings
from fedunlearn.attacks.model_inversion.pixel_search import descend as descend_pixels
from fedunlearn.attacks.model_inversion.priors.augment import most, random_batch, shifted
from fedunlearn.attacks.model_inversion.priors.vae import divergence
from fedunlearn.attacks.model_inversion.selection import best_restarts
from fedunlearn.models import Architecture, build

CENTRES = torch.tensor([[0.5, -0.25, 2.0], [-0.5, 0.75, 0.0]])


class Bowl:
    """An objective that is the squared distance from a class's centre; latents are images."""

    def anchors(self, count, rng):
        return None

    def __call__(self, images, labels, anchors):
        return 10 * (images - CENTRES[labels]).square().sum(dim=1)


def mirror():
    """Return a prior whose images are its latents, all of them equally real."""
    return SimpleNamespace(generator=lambda z: z, realism=lambda images, z: torch.zeros(len(z)), latent=3)


# Losses ---
def test_losses_by_hand():
    logits, labels = torch.tensor([[3.0, 1.0, -1.0], [0.0, 2.0, 4.0]]), torch.tensor([0, 1])
    np.testing.assert_allclose(LOSSES["logit"](logits, labels), [-3, -2])
    np.testing.assert_allclose(LOSSES["max-margin"](logits, labels), [-2, 2])
    wanted = -torch.log_softmax(logits, dim=1)[[0, 1], [0, 1]]
    np.testing.assert_allclose(LOSSES["ce"](logits, labels), wanted)


def test_the_poincare_distance_is_that_of_hyperbolic_geometry():
    logits = torch.tensor([[3.0, 1.0, -1.0]], dtype=torch.float64)
    u, v = np.array([0.6, 0.2, -0.2]), np.array([0.9999, 0, 0])
    # the distance of two points from each other by the Moebius difference, another form of the same
    dot, uu, vv = u @ v, u @ u, v @ v
    difference = ((1 - 2 * dot + vv) * -u + (1 - uu) * v) / (1 - 2 * dot + uu * vv)
    wanted = 2 * np.arctanh(np.linalg.norm(difference))
    assert float(LOSSES["poincare"](logits, torch.tensor([0]))[0]) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("label", [0, 2])
def test_losses_fall_where_the_class_gains_and_their_slopes_are_finite_in_its_corner(name, label):
    labels, corner = torch.tensor([label]), torch.zeros(1, 3)
    corner[0, label] = 1.0
    slopes = torch.autograd.grad(LOSSES[name](corner.requires_grad_(), labels).sum(), [corner])[0]
    assert torch.isfinite(slopes).all()
    worse = corner.detach().roll(1, dims=1)
    assert LOSSES[name](corner.detach(), labels) < LOSSES[name](worse, labels)


def test_class_0_is_a_class():
    assert float(best_other(torch.tensor([[9.0, 1.0, 2.0]]), torch.tensor([0]))[0]) == 2


# Descents ---
def test_pixels_reach_the_closed_form_of_a_linear_loss():
    slope = torch.linspace(-1, 3, 64).reshape(1, 1, 8, 8)
    settings = PixelSettings(steps=120, learning_rate=0.05, tv=0.0, l2=64.0)
    found = descend_pixels(
        torch.full((2, 1, 8, 8), 0.5),
        lambda images: -(images * slope).flatten(1).sum(dim=1),
        settings,
        np.random.default_rng(0),
        jitter=False,
    )
    np.testing.assert_allclose(found, (slope / 2).clamp(0, 1).expand_as(found), atol=1e-3)


def test_latents_reach_their_centre_as_far_as_the_box_allows():
    labels = torch.tensor([0, 1])
    settings = DescentSettings(steps=200, learning_rate=0.01)
    found, notes = descend_latents(mirror(), Bowl(), labels, torch.zeros(2, 3), settings, np.random.default_rng(0))
    np.testing.assert_allclose(found, CENTRES.clamp(-1, 1), atol=1e-3)
    assert notes["objective"] == pytest.approx(10 * 1.0 / 2, abs=0.1)  # 2.0 is out of the box by 1, in one of two


def test_recovery_finds_the_mean_and_loses_the_spread_where_one_point_is_best():
    settings = KedMiSettings(steps=400, learning_rate=0.05, draws=8)
    mean, deviation, _ = recover(mirror(), Bowl(), torch.tensor([0, 1]), settings, np.random.default_rng(0))
    np.testing.assert_allclose(mean, CENTRES, atol=0.05)
    assert float(deviation.max()) < 0.1


# Searches by questions ---
def test_repulsion_recovers_the_centre_of_a_ball_and_its_radius():
    rng, asked = np.random.default_rng(0), []
    centre, radius = np.array([0.6, -0.4, 0.3, 0.0]), 3.0
    first = centre + 0.9 * radius * on_sphere((6, 4), rng)

    def within(latents, labels):
        asked.append(len(latents))
        return np.linalg.norm(latents - centre, axis=1) < radius

    settings = BrepMiSettings(queries=6000, steps=60)
    found = repelled(first, np.zeros(6, int), within, settings, rng)
    assert np.linalg.norm(found.latents - centre, axis=1).max() < 0.75 < np.linalg.norm(first - centre, axis=1).min()
    assert set(found.radii) == {2.0 * 1.3}  # the next, 3.38, is larger than the ball
    assert sum(asked) <= 6 * settings.queries


def test_repulsion_keeps_to_its_class_its_box_and_its_budget():
    rng, asked = np.random.default_rng(1), []
    first = rng.uniform(0.1, 1.0, (5, 3))

    def within(latents, labels):
        asked.append(len(latents))
        return latents[:, 0] > 0

    found = repelled(first, np.arange(5), within, BrepMiSettings(queries=300), rng)
    assert (found.latents[:, 0] > 0).all()
    assert np.abs(found.latents).max() <= 1.5
    assert sum(asked) <= 5 * 300


def quadratic(latents, labels):
    return np.exp(-((latents - CENTRES.numpy()[labels].clip(-1, 1)) ** 2).sum(axis=1))


def test_breeding_climbs_a_hill_for_every_class():
    rng = np.random.default_rng(0)
    pool = rng.uniform(-1, 1, (60, 3))
    answers = np.stack([quadratic(pool, np.full(60, label)) for label in (0, 1)])
    settings = BreedingSettings(images_per_class=3, steps=60, enough=1.0)
    bred = breed(pool, answers, np.array([0, 1]), quadratic, settings, rng)
    assert bred.latents.shape == (2, 3, 3)
    assert (bred.fitness[:, 0] > 0.99).all()
    assert (bred.fitness[:, 0] >= answers.max(axis=1)).all()
    assert (np.diff(bred.fitness, axis=1) <= 0).all()


def test_breeding_ends_where_it_is_enough():
    pool, asked = np.zeros((8, 3)), []
    settings = BreedingSettings(images_per_class=2, enough=0.5)
    breed(pool, np.full((2, 8), 0.6), np.array([0, 1]), lambda *args: asked.append(1), settings, None)
    assert not asked


def test_copies_come_after_all_others():
    latents = np.array([[[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]])
    assert repeated(latents).tolist() == [[0, 1, 0, 1]]


def test_children_take_after_the_fitter_parent():
    latents = np.stack([np.full((20, 5), sign) for sign in (-1.0, 1.0)], axis=0).reshape(1, 40, 5)
    fitness = np.concatenate([np.ones((1, 20)), np.zeros((1, 20))], axis=1)
    settings = BreedingSettings(mutation=0.0, population=40)
    born = children(latents, fitness, settings, np.random.default_rng(0))
    assert born.shape == (1, 35, 5)
    assert set(np.unique(born)) <= {-1.0, 1.0}
    assert (born < 0).mean() > 0.8  # both parents unfit: 0.27 squared


# Natural gradient ---
def test_with_a_fisher_matrix_of_1_the_natural_gradient_is_the_gradient():
    one, other = (torch.nn.Linear(3, 2).double() for _ in range(2))
    start = np.random.default_rng(0).normal(size=(2, 3))
    for model in (one, other):
        model.load_state_dict({"weight": torch.from_numpy(start), "bias": torch.zeros(2)})
    natural = DiagonalNaturalGradient(one.parameters(), learning_rate=0.1, memory=1.0)
    plain = torch.optim.SGD(other.parameters(), lr=0.1)
    inputs = torch.linspace(-1, 1, 12).double().reshape(4, 3)
    for _ in range(5):
        for model, optimiser in ((one, natural), (other, plain)):
            optimiser.zero_grad()
            model(inputs).square().sum().backward()
            optimiser.step()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), theirs.detach(), rtol=1e-6)


def test_the_natural_gradient_divides_by_the_squares_and_is_cut():
    weights = torch.tensor([1.0, 1.0], requires_grad=True)
    optimiser = DiagonalNaturalGradient([weights], learning_rate=1.0, damping=0.0, memory=0.5)
    weights.grad = torch.tensor([2.0, 4.0])
    optimiser.step()  # F = g^2, so 1 / g
    np.testing.assert_allclose(weights.detach(), [0.5, 0.75])
    weights.grad = torch.tensor([2.0, 2.0])
    optimiser.step()  # F = (4 + 4) / 2 and (16 + 4) / 2
    np.testing.assert_allclose(weights.detach(), [0.5 - 2 / 4, 0.75 - 2 / 10])
    short = torch.tensor([0.0, 0.0], requires_grad=True)
    cut = DiagonalNaturalGradient([short], learning_rate=0.1, longest=1.0)
    short.grad = torch.tensor([1e-6, 1e-6])
    cut.step()
    np.testing.assert_allclose(short.detach(), [-0.1, -0.1], rtol=1e-5)


# Small things ---
def test_variety_is_greatest_where_all_classes_are_answered_alike():
    assert float(entropy_of_mean(50 * torch.eye(4))) == pytest.approx(np.log(4))
    assert float(entropy_of_mean(50 * torch.eye(4)[[1, 1]])) == pytest.approx(0, abs=1e-6)


def test_divergence_is_that_of_pytorchs_distributions():
    mean, log_variance = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5, 3)))
    wanted = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)
    np.testing.assert_allclose(divergence(mean, log_variance), wanted, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_moments_are_those_that_batch_normalisation_computes():
    model = build(Architecture("resnet18", width=4, norm="batch"), (1, 8, 8), 3, np.random.default_rng(0)).eval()
    moments, images = Moments(model), torch.linspace(0, 1, 16 * 64).reshape(16, 1, 8, 8)
    model(images)
    first = next(layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    maps = model.body.conv1(images - model.mean)
    wanted = maps.mean(dim=(0, 2, 3)).norm() + (maps.var(dim=(0, 2, 3), correction=0) - 1).norm()
    assert float(moments.distance()) > float(wanted) > 0
    first.running_mean.copy_(maps.mean(dim=(0, 2, 3)))
    first.running_var.copy_(maps.var(dim=(0, 2, 3), correction=0))
    moments.clear()
    first(maps)
    assert float(moments.distance()) == pytest.approx(0, abs=1e-6)
    assert Moments(build(Architecture("mlp"), (1, 8, 8), 3, None)).distance() == 0


@given(down=st.integers(-3, 3), right=st.integers(-3, 3))
def test_shifts_move_the_picture_and_continue_its_edge(down, right):
    images = torch.arange(2 * 10 * 12.0).reshape(2, 1, 10, 12)
    rows = np.clip(np.arange(10) - down, 0, 9)
    columns = np.clip(np.arange(12) - right, 0, 11)
    np.testing.assert_array_equal(shifted(images, down, right), images.numpy()[:, :, rows][:, :, :, columns])


def test_batches_are_drawn_from_the_images():
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 8, 8)
    assert most(images) == 1
    batch = random_batch(images, 50, np.random.default_rng(0))
    assert set(batch.unique().tolist()) == {0, 1, 2, 3}


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_best_restart_of_every_picture_is_kept(pictures, restarts, seed):
    scores = np.random.default_rng(seed).random(pictures * restarts)
    kept = best_restarts(scores, restarts)
    assert (kept // restarts == np.arange(pictures)).all()
    assert (scores[kept] == scores.reshape(pictures, restarts).max(axis=1)).all()
