"""Rebuilt images: matching, PSNR and SSIM against libraries, trivial answers."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import braycurtis
from torchmetrics.functional.image import peak_signal_noise_ratio

from fedunlearn.judging.baselines import batch_mean, grey, public_mean
from fedunlearn.judging.images import PERFECT_DB, compare, fft2d, match, psnr, psnr_of_mean, rebuilt_share, ssim


def pictures(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4))
def test_matching_is_the_cheapest_of_all(seed, count, others):
    truth, rebuilt = pictures(seed, count, 1, 3, 3), pictures(seed + 1, others, 1, 3, 3)
    rows, columns = match(truth, rebuilt)
    assert len(rows) == min(count, others)
    assert len(set(columns.tolist())) == len(columns)
    cost = ((truth[:, None] - rebuilt[None]).reshape(count, others, -1) ** 2).sum(-1)
    short, long = (count, others) if count <= others else (others, count)
    table = cost if count <= others else cost.T
    cheapest = min(sum(table[i, p] for i, p in enumerate(chosen)) for chosen in permutations(range(long), short))
    assert cost[rows, columns].sum() == pytest.approx(cheapest, rel=1e-5)


def test_shuffled_copies_are_found_again():
    truth = pictures(0, 8, 3, 5, 5)
    order = np.random.default_rng(1).permutation(8)
    rows, columns = match(truth, truth[order])
    np.testing.assert_array_equal(order[columns], rows)


def test_psnr_agrees_with_torchmetrics_and_with_the_formula():
    truth, image = pictures(0, 3, 8, 8), pictures(1, 3, 8, 8)
    expected = peak_signal_noise_ratio(torch.tensor(image), torch.tensor(truth), data_range=1.0)
    assert psnr(truth, image) == pytest.approx(float(expected), abs=1e-4)
    assert psnr(np.zeros((1, 4, 4), np.float32), np.full((1, 4, 4), 0.1, np.float32)) == pytest.approx(20, abs=1e-5)


def test_psnr_clamps_first_and_has_a_ceiling():
    white = np.ones((1, 4, 4), np.float32)
    assert psnr(white, 7 * white) == PERFECT_DB
    assert psnr(white, white - 1e-7) == PERFECT_DB


def test_psnr_on_normalised_pixels_would_be_wrong_by_ten_decibels():
    truth, image = pictures(0, 1, 28, 28), pictures(1, 1, 28, 28)
    std = 0.3081
    wrong = 10 * np.log10(1 / np.mean(((truth - image) / std) ** 2))
    assert psnr(truth, image) - wrong == pytest.approx(-20 * np.log10(std), abs=1e-3)
    assert -20 * np.log10(std) == pytest.approx(10.2, abs=0.05)


def test_ssim_of_the_same_image_is_one_and_small_images_are_allowed():
    for side in (8, 5, 28):
        image = pictures(0, 1, side, side)
        assert ssim(image, image) == pytest.approx(1)
        assert ssim(image, pictures(1, 1, side, side)) < 0.5


def test_rebuilt_share_counts_unmatched_images_as_lost():
    assert rebuilt_share(np.array([19.9, 20.0, 35.0]), 4) == 0.5
    assert rebuilt_share(np.array([19.9, 20.0, 35.0]), 4, threshold=30.0) == 0.25


def test_fft2d_is_the_bray_curtis_distance_of_the_magnitudes():
    truth, image = pictures(0, 3, 8, 6), pictures(1, 3, 8, 6)
    spectra = [np.abs(np.fft.fft2(pixels)).ravel() for pixels in (truth, image)]
    assert fft2d(truth, image) == pytest.approx(braycurtis(*spectra), rel=1e-6)


def test_fft2d_in_closed_form():
    truth = pictures(0, 1, 9, 9)
    assert fft2d(truth, np.roll(truth, (2, 3), axis=(1, 2))) == pytest.approx(0, abs=1e-7)  # blind to shifts
    assert fft2d(truth, 0.5 * truth) == pytest.approx(1 / 3, abs=1e-7)
    assert fft2d(truth, np.zeros_like(truth)) == 1
    assert fft2d(np.zeros_like(truth), np.zeros_like(truth)) == 0
    wave = np.tile(0.5 + 0.5 * np.cos(2 * np.pi * np.arange(8) / 8), (1, 8, 1))  # magnitudes 32 and twice 16
    assert fft2d(wave, np.full_like(wave, 0.5)) == pytest.approx(32 / (64 + 32), abs=1e-7)


def test_fused_images_show_in_the_mean():
    truth = pictures(0, 4, 1, 8, 8)
    fused = np.repeat(truth.mean(axis=0, keepdims=True), 4, axis=0)
    assert psnr_of_mean(truth, fused) > 90
    assert max(psnr(image, fused[0]) for image in truth) < 15


def test_trivial_answers():
    truth = pictures(0, 4, 1, 8, 8)
    assert grey(truth, 4).psnr[0] == pytest.approx(10 * np.log10(1 / np.mean((truth[0] - 0.5) ** 2)), abs=1e-3)
    assert batch_mean(truth, 4).psnr.mean() > grey(truth, 4).psnr.mean()
    assert np.isnan(batch_mean(truth[:1], 1).psnr).all()
    assert np.isnan(public_mean(truth, 4, None).psnr).all()
    assert public_mean(truth, 4, truth[2]).psnr[2] == PERFECT_DB


def test_fewer_trivial_images_than_true_ones_are_matched_to_those_that_they_fit_best():
    truth = pictures(0, 9, 1, 8, 8) * np.linspace(0.2, 1, 9, dtype=np.float32)[:, None, None, None]
    every = sorted((psnr(image, np.full_like(image, 0.5)) for image in truth), reverse=True)
    assert sorted(grey(truth, 3).psnr, reverse=True) == every[:3]
    assert sorted(grey(truth, 12).psnr, reverse=True) == every


def test_a_comparison_scores_the_matched_pairs():
    truth = pictures(0, 5, 1, 8, 8)
    answer = 1.2 * truth[[4, 1]] + 0.05
    found = compare(truth, answer)
    assert dict(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == {4: 0, 1: 1}
    assert found.psnr.tolist() == [psnr(truth[1], answer[1]), psnr(truth[4], answer[0])]
    assert found.ssim.tolist() == [ssim(truth[1], answer[1].clip(0, 1)), ssim(truth[4], answer[0].clip(0, 1))]
    assert found.fft2d.tolist() == [fft2d(truth[1], answer[1]), fft2d(truth[4], answer[0])]
    assert np.isnan(found.lpips).all()
    perceptual = compare(truth, answer, lambda truth, images: np.abs(truth - images).mean((1, 2, 3)))
    assert perceptual.lpips.tolist() == [np.abs(truth[k] - answer[m].clip(0, 1)).mean() for k, m in ((1, 1), (4, 0))]
    assert np.isnan(compare(truth, np.full((2, 1, 8, 8), np.nan)).psnr).tolist() == [True, True]


def test_expected_psnr_of_grey_against_uniform_noise():
    noise = pictures(3, 64, 3, 32, 32)  # variance 1/12: 10.79 dB
    assert grey(noise, 64).psnr.mean() == pytest.approx(10 * np.log10(12), abs=0.05)
