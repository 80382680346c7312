"""The parts of which a search for images is made."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn
from scipy.spatial.distance import cosine as scipy_cosine
from torchmetrics.functional.image import total_variation as torchmetrics_total_variation

from fedunlearn.attacks.gradient_inversion.denormals import flushed_denormals, flushes_denormals
from fedunlearn.attacks.gradient_inversion.labels import with_wrong
from fedunlearn.attacks.gradient_inversion.lbfgs import lbfgs
from fedunlearn.attacks.gradient_inversion.merging import merge_copies
from fedunlearn.attacks.gradient_inversion.objectives import cosine, euclidean, layer_norms
from fedunlearn.attacks.gradient_inversion.optimisers import adam, rate_schedule
from fedunlearn.attacks.gradient_inversion.regularisers import (
    epoch_order,
    out_of_box,
    root_mean_square,
    total_variation,
)
from fedunlearn.attacks.gradient_inversion.search import phases
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.spaces import SPACES
from fedunlearn.attacks.gradient_inversion.starts import STARTS, TILE
from fedunlearn.models import Architecture, build

SHAPES = [(1, 8, 8), (3, 12, 8)]


def model(shape):
    stats = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)) if shape[0] == 3 else (0.3, 0.37)
    return build(Architecture("logistic"), shape, 4, np.random.default_rng(0), stats).double()


def space(name, shape):
    return SPACES[name](model(shape), shape)


def noise(*shape):
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


def test_distances_against_scipy():
    rng = np.random.default_rng(0)
    one, other = ([rng.normal(size=shape) for shape in ((3, 4), (5,))] for _ in range(2))
    flat = [np.concatenate([part.ravel() for part in parts]) for parts in (one, other)]
    tensors = [[torch.from_numpy(part)[None] for part in parts] for parts in (one, other)]
    np.testing.assert_allclose(cosine(*tensors), [scipy_cosine(*flat)])
    np.testing.assert_allclose(euclidean(*tensors), [((flat[0] - flat[1]) ** 2).sum() / (flat[1] ** 2).sum()])
    norms = [sum(np.linalg.norm(part) for part in parts) for parts in ([a - b for a, b in zip(one, other)], other)]  # noqa: B905
    np.testing.assert_allclose(layer_norms(*tensors), [norms[0] / norms[1]])
    for distance in (euclidean, cosine, layer_norms):
        assert abs(float(distance(tensors[0], tensors[0]))) < 1e-15


def test_total_variation_against_torchmetrics():
    images = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    differences = 3 * 2 * 6 * 5  # along either axis
    expected = torchmetrics_total_variation(images, reduction="sum") / differences
    torch.testing.assert_close(total_variation(images[None])[0], expected)
    each = [total_variation(image[None]) for image in images]
    torch.testing.assert_close(total_variation(images), torch.cat(each))


def test_regularisers_against_closed_forms():
    pixels = torch.tensor([-0.5, 0.5, 2.0, 1.0], dtype=torch.float64)
    assert float(out_of_box(pixels[None])) == pytest.approx((0.25 + 1.0) / 4)
    assert float(root_mean_square(pixels[None])) == pytest.approx(np.sqrt(np.mean(pixels.numpy() ** 2)))
    zero = torch.zeros(2, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(root_mean_square(zero).sum(), zero)
    assert not slope.any()


def test_the_epoch_prior_knows_no_order():
    images = noise(5, 1, 4, 4)
    shuffled = torch.stack([images, images[torch.tensor([3, 1, 4, 0, 2])]])
    assert float(epoch_order(shuffled[None])) < 1e-30
    moved = torch.stack([images, images + 1.0])  # mean and maximum of the second copy are one higher
    assert float(epoch_order(moved[None])) == pytest.approx(0.25)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", list(SPACES))
def test_a_space_goes_there_and_back(name, shape):
    there = space(name, shape)
    pixels = 0.5 + 0.4 * noise(2, 3, *shape)
    torch.testing.assert_close(there.pixels(there.candidate(pixels)), pixels)
    torch.testing.assert_close(there.pixels(there.boxed(there.candidate(pixels))), pixels.clamp(0, 1))


def test_normalised_is_what_the_body_of_the_model_sees():
    pixels = noise(2, *SHAPES[1])
    torch.testing.assert_close(
        space("normalised", SHAPES[1]).candidate(pixels).flatten(1), model(SHAPES[1]).features(pixels)
    )


def test_whitened_coordinates_against_scipy():
    there = space("whitened", (1, 12, 8))
    pixels = noise(1, 12, 8)
    one = torch.ones(1, 12, 8, dtype=torch.float64)
    usual = dctn((there.pixels(one) - 0.5).numpy(), axes=(1, 2), norm="ortho")  # the amplitudes themselves
    expected = dctn((pixels - 0.5).numpy(), axes=(1, 2), norm="ortho") / usual
    np.testing.assert_allclose(there.candidate(pixels), expected, rtol=1e-9, atol=1e-12)
    assert usual[0, 0, 0] == usual.max()
    assert usual[0, -1, -1] == usual.min()


@pytest.mark.parametrize("name", list(SPACES))
def test_grey_starts_are_grey(name):
    there = space(name, SHAPES[1])
    start = STARTS["grey"](there, noise(20, *SHAPES[1]))
    pixels = there.pixels(start)
    assert abs(float(pixels.mean()) - 0.5) < 0.02
    assert 0 < float(pixels.std()) < 0.2


def test_patterned_starts_repeat_a_tile():
    start = STARTS["patterned"](space("pixels", SHAPES[1]), noise(2, *SHAPES[1]))
    assert torch.equal(start[..., TILE:, :], start[..., :-TILE, :])
    assert torch.equal(start[..., TILE:], start[..., :-TILE])
    assert not torch.equal(start[0], start[1])


def test_copies_are_merged_in_the_order_of_the_first():
    images = np.random.default_rng(0).random((4, 1, 5, 5)).astype(np.float32)
    merged = merge_copies(np.stack([images, images[[2, 0, 3, 1]] + 0.01, images[[1, 3, 0, 2]] - 0.01]))
    np.testing.assert_allclose(merged, images, atol=1e-6)
    assert merged.dtype == np.float32


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=9),
    wrong=st.integers(0, 9),
    seed=st.integers(0, 100),
)
@settings(deadline=None)
def test_wrong_labels_are_wrong(labels, wrong, seed):
    right = np.array(labels)
    changed = with_wrong(right, wrong, 5, np.random.default_rng(seed))
    assert np.count_nonzero(changed != right) == min(wrong, len(right))
    assert changed.min() >= 0
    assert changed.max() < 5
    if wrong and len(set(labels)) < 5:
        assert not np.array_equal(np.sort(changed), np.sort(right))


def test_denormals_are_flushed_within_and_as_before_after():
    torch.set_flush_denormal(False)
    try:
        for before in (False, True):
            torch.set_flush_denormal(before)
            with flushed_denormals():
                assert flushes_denormals()
                assert float(torch.tensor([1e-30]) * 1e-10) == 0
            assert flushes_denormals() is before
    finally:
        torch.set_flush_denormal(False)


def bowl(wanted):
    """Return the evaluation of the squared distances of candidates (R, ...) from `wanted`."""

    def evaluate(candidates, trials=None):
        distance = candidates.detach() - wanted
        return (distance**2).flatten(1).sum(1), 2 * distance

    return evaluate


def never(losses):
    return torch.zeros_like(losses, dtype=torch.bool)


def silent(done, loss):
    return None


@pytest.mark.parametrize("optimiser", ["adam", "signed-adam"])
def test_adam_moves_every_trial_to_its_own_end(optimiser):
    wanted = noise(3, 1, 2, 4, 4).abs().clamp(0.1, 0.9)
    choices = InversionSettings(optimiser=optimiser, steps=300, warm_up=10, objective="cosine")
    draws = [np.random.default_rng(seed) for seed in range(3)]
    clamp = lambda candidates: candidates.clamp(0, 1)  # noqa: E731
    best = adam(bowl(wanted), torch.zeros_like(wanted), choices, clamp, draws, never, silent)
    np.testing.assert_allclose(best.candidates, wanted, atol=0.01)
    assert best.losses.shape == (3,)
    assert best.iterations.tolist() == [300] * 3


def test_noise_is_drawn_by_the_trials_own_generators():
    choices = InversionSettings(optimiser="adam", steps=5, noise=0.2)
    start = noise(2, 1, 1, 4, 4)
    stay = lambda candidates: candidates  # noqa: E731

    def run(part, seeds):
        draws = [np.random.default_rng(seed) for seed in seeds]
        return adam(bowl(torch.ones_like(start[part])), start[part], choices, stay, draws, never, silent)

    together, alone = run(slice(0, 2), (1, 2)), run(slice(1, 2), (2,))
    np.testing.assert_allclose(together.candidates[1], alone.candidates[0], rtol=1e-12)


@pytest.mark.parametrize("which", ["lbfgs", "adam"])
def test_a_search_that_diverges_is_not_a_picture(which):
    def undefined(candidates, trials=None):
        return candidates.detach().flatten(1).sum(1) * float("nan"), torch.full_like(candidates, float("nan"))

    start = torch.full((1, 1, 1, 1, 8, 8), 0.5)
    if which == "lbfgs":
        best = lbfgs(undefined, start, InversionSettings(steps=40), never, silent)
    else:
        choices = InversionSettings(optimiser="adam", steps=40)
        best = adam(undefined, start, choices, lambda c: c, [np.random.default_rng(0)], never, silent)
    assert best.candidates.isnan().all()
    assert float(best.losses[0]) == float("inf")


def test_one_trial_that_diverges_leaves_the_others_alone():
    wanted = torch.full((2, 1, 1, 1, 4, 4), 0.5)

    def evaluate(candidates, trials=None):
        losses, slopes = bowl(wanted)(candidates)
        losses[0], slopes[0] = float("nan"), float("nan")
        return losses, slopes

    draws = [np.random.default_rng(seed) for seed in range(2)]
    choices = InversionSettings(optimiser="adam", steps=200)
    best = adam(evaluate, torch.zeros_like(wanted), choices, lambda c: c, draws, never, silent)
    assert best.candidates[0].isnan().all()
    np.testing.assert_allclose(best.candidates[1], wanted[1], atol=0.01)


def test_two_spaces_share_the_steps():
    one = InversionSettings(steps=7)
    assert phases(one) == [one]
    first, second = phases(InversionSettings(steps=7, space="whitened", second_space="pixels"))
    assert (first.steps, first.space, second.steps, second.space) == (4, "whitened", 3, "pixels")


def test_rates():
    steps = InversionSettings(optimiser="signed-adam", steps=80)
    assert [round(rate_schedule(steps)(step), 6) for step in (0, 29, 30, 49, 50, 69, 70, 79)] == [
        1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001,
    ]  # fmt: skip
    cosine_rate = rate_schedule(InversionSettings(optimiser="adam", steps=100, warm_up=10))
    assert cosine_rate(0) == pytest.approx(0.1)
    assert cosine_rate(50) == pytest.approx(0.5)
    assert cosine_rate(100) == pytest.approx(0)
