"""Judges claimed training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.judging.baselines import psnr_batch_mean, psnr_grey, psnr_public_mean
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.images import REBUILT_DB, match, psnr, psnr_best, psnr_of_mean, rebuilt_share, ssim
from fedunlearn.judging.intervals import bootstrap_mean, wilson
from fedunlearn.judging.metric import NAN, Metric
from fedunlearn.observer.findings import Reconstructions

TRIVIAL = ("psnr-grey", "psnr-batch-mean", "psnr-public-mean")
NAMES = ("psnr", "ssim", "rebuilt-share", "psnr-best", "psnr-of-mean", *TRIVIAL)
SHOWN = 12  # updates whose pictures a report can show
SHOWN_IMAGES = 16  # pictures of each


@dataclass(frozen=True)
class Pairs:
    """One update's true images with the reconstructions matched to them, both (n, C, H, W), and their scores (n,).

    `images` counts the true images, the unmatched ones included; `trivial` holds the PSNR of trivial answers, one
    per true image, by metric name.
    """

    truth: np.ndarray
    rebuilt: np.ndarray
    labels: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    of_mean: float
    images: int
    trivial: dict[str, np.ndarray]


def score_images(finding: Reconstructions, case: Case) -> Verdict:
    """Match, score and average over the images of all updates; the baseline is the trivial answer that does best."""
    pairs: list[Pairs] = []
    arrays: dict[str, np.ndarray] = {}
    shown: list[dict[str, Any]] = []
    for index, (round, client) in enumerate(finding.targets):
        true = case.answers.update(case.branch, round, client)
        pair = _pair(case.images(true.sample_ids), true.labels, finding.images[index], case.public_mean)
        pairs.append(pair)
        if index < SHOWN:
            arrays |= {f"originals-{index}": pair.truth[:SHOWN_IMAGES], f"rebuilt-{index}": pair.rebuilt[:SHOWN_IMAGES]}
            shown.append({"round": round, "client": client, **_details(pair)})
    details = {"updates": shown, "label-source": finding.label_source}
    return Verdict(_metrics(pairs, case.rng), details, arrays)


def _pair(truth: np.ndarray, labels: np.ndarray, rebuilt: np.ndarray, public_mean: np.ndarray | None) -> Pairs:
    trivial = dict(
        zip(TRIVIAL, (psnr_grey(truth), psnr_batch_mean(truth), psnr_public_mean(truth, public_mean)), strict=True)
    )
    if not np.isfinite(rebuilt).all():  # a diverged reconstruction matches nothing: every score is NaN
        count = min(len(truth), len(rebuilt))
        unknown = np.full(count, NAN)
        return Pairs(truth[:count], rebuilt[:count], labels[:count], unknown, unknown, NAN, len(truth), trivial)
    rows, columns = match(truth, np.clip(rebuilt, 0, 1))
    true, found = truth[rows], np.clip(rebuilt, 0, 1)[columns]
    return Pairs(
        truth=true,
        rebuilt=found,
        labels=labels[rows],
        psnr=np.array([psnr(*pair) for pair in zip(true, found, strict=True)]),
        ssim=np.array([ssim(*pair) for pair in zip(true, found, strict=True)]),
        of_mean=psnr_of_mean(truth, rebuilt),
        images=len(truth),
        trivial=trivial,
    )


def _details(pair: Pairs) -> dict[str, Any]:
    return {
        "psnr": [float(value) if np.isfinite(value) else None for value in pair.psnr[:SHOWN_IMAGES]],
        "ssim": [float(value) if np.isfinite(value) else None for value in pair.ssim[:SHOWN_IMAGES]],
        "labels": [int(label) for label in pair.labels[:SHOWN_IMAGES]],
        "images": pair.images,
    }


def _metrics(pairs: list[Pairs], rng: np.random.Generator) -> dict[str, Metric]:
    psnrs = np.concatenate([pair.psnr for pair in pairs])
    means = np.array([pair.of_mean for pair in pairs])
    trivial = {name: np.concatenate([pair.trivial[name] for pair in pairs]) for name in TRIVIAL}
    best = max(trivial.values(), key=lambda values: float(np.nan_to_num(values).mean()))
    metrics = {
        "psnr": _mean(psnrs, rng).with_values(baseline=float(best.mean())),
        "ssim": _mean(np.concatenate([pair.ssim for pair in pairs]), rng),
        "rebuilt-share": _share(psnrs, best),
        "psnr-best": Metric(psnr_best(psnrs), len(psnrs), baseline=psnr_best(best)),
        "psnr-of-mean": _mean(means, rng),
    }
    return metrics | {name: _mean(values, rng) for name, values in trivial.items()}


def _mean(values: np.ndarray, rng: np.random.Generator) -> Metric:
    return Metric(float(values.mean()), len(values), bootstrap_mean(values, rng))


def _share(psnrs: np.ndarray, trivial: np.ndarray) -> Metric:
    images = len(trivial)
    baseline = rebuilt_share(trivial, images)
    if np.isnan(psnrs).any():
        return Metric(NAN, images, baseline=baseline)
    rebuilt = int(np.count_nonzero(psnrs >= REBUILT_DB))
    return Metric(rebuilt_share(psnrs, images), images, wilson(rebuilt, images), baseline=baseline)
