"""One batch of claimed images against the true ones, beside what trivial answers of as many images score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.judging.baselines import batch_mean, grey, public_mean
from fedunlearn.judging.identification import Guess
from fedunlearn.judging.images import Comparison, compare, psnr_of_mean
from fedunlearn.judging.lpips import Perceptual
from fedunlearn.judging.metric import NAN, finite_or_none

PAIRWISE = ("psnr", "ssim", "lpips", "fft2d")  # measures of single pairs
TRIVIAL = ("psnr-grey", "psnr-batch-mean", "psnr-public-mean")
SHOWN_IMAGES = 16  # pictures of one batch that a report can show


@dataclass(frozen=True)
class Batch:
    """Claimed images and the true ones that they were matched with.

    Attributes:
        truth, rebuilt: the true images and what was made of them, pair by pair (pairs, C, H, W).
        found: how close they are.
        trivial: how close trivial answers of as many images are, by metric name.
        guess, trivial_guesses: the same answers with the samples that they were matched with.
        means: the mean true and the mean claimed image, (2, C, H, W).
        of_mean: PSNR of the two; `trivial_of_mean`: of grey and of the public mean instead of the claimed one.
        images: how many true images there are, the unmatched ones included.
    """

    truth: np.ndarray
    rebuilt: np.ndarray
    found: Comparison
    trivial: dict[str, Comparison]
    guess: Guess
    trivial_guesses: tuple[Guess, ...]
    means: np.ndarray
    of_mean: float
    trivial_of_mean: tuple[float, ...]
    images: int

    def details(self, labels: np.ndarray) -> dict[str, Any]:
        """Return JSON values of the first pairs, whose classes are `labels` (pairs,), and of the means."""
        pairs = {
            name: [finite_or_none(value) for value in getattr(self.found, name)[:SHOWN_IMAGES]] for name in PAIRWISE
        }
        shown = [int(label) for label in labels[:SHOWN_IMAGES]]
        return pairs | {"labels": shown, "images": self.images, "psnr-of-mean": finite_or_none(self.of_mean)}

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """Return the arrays to show, named as batch `index`; the means only where there are several images."""
        arrays = {f"originals-{index}": self.truth[:SHOWN_IMAGES], f"rebuilt-{index}": self.rebuilt[:SHOWN_IMAGES]}
        return arrays | ({f"means-{index}": self.means} if self.images > 1 else {})


def score_batch(
    truth: np.ndarray,
    sample_ids: np.ndarray,
    claimed: np.ndarray,
    public: np.ndarray | None,
    perceptual: Perceptual | None,
) -> Batch:
    """Match claimed images with the true ones and score the pairs.

    Args:
        truth: (n, C, H, W).
        sample_ids: whose images these are, (n,).
        claimed: (m, C, H, W).
        public: the mean public image (C, H, W), or None.
        perceptual: LPIPS, or None.
    """
    found, count, clamped = compare(truth, claimed, perceptual), len(claimed), np.clip(claimed, 0, 1)
    answers = {
        "psnr-grey": grey(truth, count, perceptual),
        "psnr-batch-mean": batch_mean(truth, count, perceptual),
        "psnr-public-mean": public_mean(truth, count, public, perceptual),
    }
    unknown = np.full_like(truth[0], NAN)
    same, mean = np.full_like(truth[0], 0.5), truth.mean(axis=0)
    pictures = (same, mean if len(truth) > 1 else unknown, unknown if public is None else public)
    return Batch(
        truth=truth[found.rows],
        rebuilt=clamped[found.columns],
        found=found,
        trivial=answers,
        guess=Guess(clamped, sample_ids[found.rows], found.columns),
        trivial_guesses=tuple(
            Guess(picture[None], sample_ids[answer.rows], np.zeros(len(answer.rows), np.int64))
            for picture, answer in zip(pictures, answers.values(), strict=True)
        ),
        means=np.stack([mean, clamped.mean(axis=0)]),
        of_mean=psnr_of_mean(truth, claimed) if np.isfinite(claimed).all() else NAN,
        trivial_of_mean=tuple(psnr_of_mean(truth, picture[None]) for picture in (same, public) if picture is not None),
        images=len(truth),
    )
