"""How close rebuilt images are to the true ones, after the best one-to-one matching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fedunlearn.judging.lpips import Perceptual
from fedunlearn.judging.metric import METRICS, NAN

REBUILT_DB = 20.0  # from here on a person recognises the picture
PERFECT_DB = 100.0  # float32 pixels cannot show a smaller difference; also what identical images get


@dataclass(frozen=True)
class Comparison:
    """An answer's images held against the true ones, pair by pair, each array (pairs,).

    Attributes:
        rows, columns: which true image and which image of the answer make a pair.
        psnr, ssim, fft2d, lpips: of each pair; NaN where the answer has no finite pixels.
    """

    rows: np.ndarray
    columns: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    fft2d: np.ndarray
    lpips: np.ndarray


def compare(truth: np.ndarray, answer: np.ndarray, perceptual: Perceptual | None = None) -> Comparison:
    """Match images (m, C, H, W) to the true ones (n, C, H, W) and score the min(m, n) pairs.

    Attacks and trivial answers both come through here: of n true images the matching picks those that m images fit
    best, so that scores are comparable only for the same m.

    Args:
        truth: the true images.
        answer: what is held against them.
        perceptual: LPIPS, which is NaN without it.
    """
    first = np.arange(min(len(truth), len(answer)))
    unknown = np.full(len(first), NAN)
    if not np.isfinite(answer).all():  # what diverged matches nothing
        return Comparison(first, first, unknown, unknown, unknown, unknown)
    clamped = np.clip(answer, 0, 1)
    rows, columns = match(truth, clamped)
    pairs = list(zip(truth[rows], clamped[columns], strict=True))
    return Comparison(
        rows,
        columns,
        psnr=np.array([psnr(*pair) for pair in pairs]),
        ssim=np.array([ssim(*pair) for pair in pairs]),
        fft2d=np.array([fft2d(*pair) for pair in pairs]),
        lpips=perceptual(truth[rows], clamped[columns]) if perceptual else unknown,
    )


def match(truth: np.ndarray, rebuilt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows of `truth`, rows of `rebuilt`), paired one-to-one so that the summed squared error is least.

    A greedy match, which lets one reconstruction serve several truths, would inflate the score. When one side
    is longer, its surplus stays unmatched.

    Args:
        truth: (n, C, H, W) in [0, 1].
        rebuilt: (m, C, H, W), finite.
    """
    a, b = (images.reshape(len(images), -1).astype(np.float64) for images in (truth, rebuilt))
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    return linear_sum_assignment(squared)


@METRICS.register("psnr")
def psnr(truth: np.ndarray, image: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of an image (C, H, W) clamped to [0, 1], peak 1, at most 100."""
    clamped = np.clip(image, 0, 1).astype(np.float64)
    if np.array_equal(truth, clamped):
        return PERFECT_DB
    return min(float(peak_signal_noise_ratio(truth.astype(np.float64), clamped, data_range=1)), PERFECT_DB)


@METRICS.register("ssim")
def ssim(truth: np.ndarray, image: np.ndarray) -> float:
    """Structural similarity of an image (C, H, W) clamped to [0, 1]; windows of 7 pixels, less on smaller images."""
    side = min(7, *truth.shape[1:])
    window = side if side % 2 else side - 1
    clamped = np.clip(image, 0, 1).astype(np.float64)
    exact = truth.astype(np.float64)
    return float(structural_similarity(exact, clamped, data_range=1, win_size=window, channel_axis=0))


@METRICS.register("fft2d")
def fft2d(truth: np.ndarray, image: np.ndarray) -> float:
    """Distance of the 2-D Fourier magnitudes of two images (C, H, W), 0 the same to 1, blind to circular shifts.

    It is sum | |F(x)| - |F(y)| | / sum (|F(x)| + |F(y)|) over frequencies and channels (Bray-Curtis). Yin et al.
    (CVPR 2021) print an "FFT2D" without its formula: figures are not comparable with theirs.
    """
    a, b = (np.abs(np.fft.fft2(pixels.astype(np.float64))) for pixels in (truth, np.clip(image, 0, 1)))
    total = (a + b).sum()
    return float(np.abs(a - b).sum() / total) if total else 0.0


@METRICS.register("rebuilt-share")
def rebuilt_share(psnrs: np.ndarray, images: int, threshold: float = REBUILT_DB) -> float:
    """Share of the true images whose matched reconstruction reaches a stated PSNR, 20 dB if the scenario sets no other.

    Args:
        psnrs: of the matched reconstructions, (pairs,).
        images: how many true images there are.
        threshold: in dB.
    """
    return float(np.count_nonzero(psnrs >= threshold) / images)


@METRICS.register("psnr-best")
def psnr_best(psnrs: np.ndarray) -> float:
    """PSNR in dB of the best of all rebuilt images: what the most exposed sample gives away."""
    return float(np.max(psnrs))


@METRICS.register("psnr-median")
def psnr_median(psnrs: np.ndarray) -> float:
    """Median PSNR in dB of the rebuilt images: not moved by the few that came out perfect or not at all."""
    return float(np.median(psnrs))


@METRICS.register("psnr-of-mean")
def psnr_of_mean(truth: np.ndarray, rebuilt: np.ndarray) -> float:
    """PSNR in dB of the mean rebuilt image against the true batch mean: high when images of a class come back fused."""
    return psnr(truth.mean(axis=0), np.clip(rebuilt, 0, 1).mean(axis=0))
