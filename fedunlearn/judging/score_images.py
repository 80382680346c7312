"""Judges claimed training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.judging.baselines import batch_mean, grey, public_mean
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.images import REBUILT_DB, Comparison, compare, psnr_best, psnr_of_mean, rebuilt_share
from fedunlearn.judging.intervals import bootstrap_mean, wilson
from fedunlearn.judging.metric import NAN, Metric
from fedunlearn.observer.findings import Reconstructions

TRIVIAL = ("psnr-grey", "psnr-batch-mean", "psnr-public-mean")
NAMES = ("psnr", "ssim", "rebuilt-share", "psnr-best", "psnr-of-mean", *TRIVIAL)
SHOWN = 12  # updates whose pictures a report can show
SHOWN_IMAGES = 16  # pictures of each


@dataclass(frozen=True)
class Scored:
    """One update's images.

    Attributes:
        truth, rebuilt: the true images and what was made of them, pair by pair (pairs, C, H, W).
        labels: of the true images, (pairs,).
        found: how close they are.
        trivial: how close trivial answers of as many images are, by metric name.
        of_mean: PSNR of the mean images.
        images: how many true images there are, the unmatched ones included.
    """

    truth: np.ndarray
    rebuilt: np.ndarray
    labels: np.ndarray
    found: Comparison
    trivial: dict[str, Comparison]
    of_mean: float
    images: int


def score_images(finding: Reconstructions, case: Case) -> Verdict:
    """Match, score and average over the images of all updates; the baseline is the trivial answer that does best."""
    scored: list[Scored] = []
    arrays: dict[str, np.ndarray] = {}
    shown: list[dict[str, Any]] = []
    for index, (round, client) in enumerate(finding.targets):
        true = case.answers.update(case.branch, round, client)
        one = _score(case.images(true.sample_ids), true.labels, finding.images[index], case.public_mean)
        scored.append(one)
        if index < SHOWN:
            arrays |= {f"originals-{index}": one.truth[:SHOWN_IMAGES], f"rebuilt-{index}": one.rebuilt[:SHOWN_IMAGES]}
            shown.append({"round": round, "client": client, **_details(one)})
    details = {"updates": shown, "label-source": finding.label_source}
    return Verdict(_metrics(scored, case.rng), details, arrays)


def _score(truth: np.ndarray, labels: np.ndarray, rebuilt: np.ndarray, public: np.ndarray | None) -> Scored:
    found, count = compare(truth, rebuilt), len(rebuilt)
    return Scored(
        truth=truth[found.rows],
        rebuilt=np.clip(rebuilt, 0, 1)[found.columns],
        labels=labels[found.rows],
        found=found,
        trivial={
            "psnr-grey": grey(truth, count),
            "psnr-batch-mean": batch_mean(truth, count),
            "psnr-public-mean": public_mean(truth, count, public),
        },
        of_mean=psnr_of_mean(truth, rebuilt) if np.isfinite(rebuilt).all() else NAN,
        images=len(truth),
    )


def _details(one: Scored) -> dict[str, Any]:
    return {
        "psnr": [float(value) if np.isfinite(value) else None for value in one.found.psnr[:SHOWN_IMAGES]],
        "ssim": [float(value) if np.isfinite(value) else None for value in one.found.ssim[:SHOWN_IMAGES]],
        "labels": [int(label) for label in one.labels[:SHOWN_IMAGES]],
        "images": one.images,
    }


def _metrics(scored: list[Scored], rng: np.random.Generator) -> dict[str, Metric]:
    images = sum(one.images for one in scored)
    psnrs, ssims = _together([one.found for one in scored])
    answers = {name: _together([one.trivial[name] for one in scored]) for name in TRIVIAL}
    trivial_psnrs, trivial_ssims = zip(*answers.values(), strict=True)
    share = _share(psnrs, images)
    metrics = {
        "psnr": _mean(psnrs, rng).with_values(baseline=_best(np.mean, trivial_psnrs)),
        "ssim": _mean(ssims, rng).with_values(baseline=_best(np.mean, trivial_ssims)),
        "rebuilt-share": share.with_values(baseline=_best(lambda psnrs: rebuilt_share(psnrs, images), trivial_psnrs)),
        "psnr-best": Metric(psnr_best(psnrs), len(psnrs), baseline=_best(psnr_best, trivial_psnrs)),
        "psnr-of-mean": _mean(np.array([one.of_mean for one in scored]), rng),
    }
    return metrics | {name: _mean(values, rng) for name, (values, _) in answers.items()}


def _together(comparisons: Sequence[Comparison]) -> tuple[np.ndarray, np.ndarray]:
    """Return PSNR and SSIM of all updates' pairs."""
    return np.concatenate([one.psnr for one in comparisons]), np.concatenate([one.ssim for one in comparisons])


def _best(measure: Callable[[np.ndarray], float], answers: Sequence[np.ndarray]) -> float:
    """Return the highest score of the trivial answers that are defined for every update; grey always is."""
    return max(float(measure(values)) for values in answers if np.isfinite(values).all())


def _mean(values: np.ndarray, rng: np.random.Generator) -> Metric:
    return Metric(float(values.mean()), len(values), bootstrap_mean(values, rng))


def _share(psnrs: np.ndarray, images: int) -> Metric:
    if np.isnan(psnrs).any():
        return Metric(NAN, images)
    rebuilt = int(np.count_nonzero(psnrs >= REBUILT_DB))
    return Metric(rebuilt_share(psnrs, images), images, wilson(rebuilt, images))
