"""Every measure of claimed images over all batches of a finding, each with the trivial answer that does best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.judging.case import Case
from fedunlearn.judging.identification import credits, identification_rate
from fedunlearn.judging.image_batch import PAIRWISE, TRIVIAL, Batch, score_batch
from fedunlearn.judging.images import psnr_best, psnr_median, rebuilt_share
from fedunlearn.judging.intervals import bootstrap_mean, interval_of_share, wilson
from fedunlearn.judging.lpips import Perceptual, perceptual
from fedunlearn.judging.metric import LOWER_IS_BETTER, NAN, UNKNOWN, Metric

NAMES = (*PAIRWISE, "rebuilt-share", "identification-rate", "psnr-median", "psnr-best", "psnr-of-mean", *TRIVIAL)


class ImageScorer:
    """Scores the batches of one finding and puts them together."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._batches: list[Batch] = []
        self._skipped: dict[str, str] = {}
        self._perceptual = self._lpips()
        if case.pool is None:
            self._skipped["identification-rate"] = "no training images to look among"

    def add(self, sample_ids: np.ndarray, claimed: np.ndarray) -> Batch:
        """Match claimed images (m, C, H, W) with the samples (n,) and score the pairs.

        Raises:
            DataError: for no image, or images of another shape than the true ones.
        """
        truth = self._case.images(sample_ids)
        if not len(claimed) or claimed.shape[1:] != truth.shape[1:]:
            raise DataError(f"claimed images of shape {claimed.shape}, true ones of shape {truth.shape}")
        batch = score_batch(truth, sample_ids, claimed, self._case.public_mean, self._perceptual)
        self._batches.append(batch)
        return batch

    def details(self) -> dict[str, Any]:
        """Return what a report says beside the metrics: the threshold, and why a measure is missing."""
        return {"rebuilt-db": self._case.rebuilt_db, "skipped": dict(self._skipped)}

    def metrics(self) -> dict[str, Metric]:
        """Return every metric over the images of all batches.

        A baseline is the best of the trivial answers that are defined for every batch.
        """
        rng, threshold = self._case.rng, self._case.rebuilt_db
        images = sum(batch.images for batch in self._batches)
        found = {name: self._found(name) for name in PAIRWISE}
        trivial = {name: [self._trivial(answer, name) for answer in TRIVIAL] for name in PAIRWISE}
        share = partial(rebuilt_share, images=images, threshold=threshold)
        metrics = {
            name: _mean(found[name], rng).with_values(baseline=_best(np.mean, trivial[name], name)) for name in PAIRWISE
        }
        metrics["rebuilt-share"] = _share(found["psnr"], images, threshold).with_values(
            baseline=_best(share, trivial["psnr"])
        )
        metrics["identification-rate"] = self._identification()
        for name, measure in (("psnr-median", psnr_median), ("psnr-best", psnr_best)):
            value = measure(found["psnr"])
            metrics[name] = Metric(value, len(found["psnr"]), baseline=_best(measure, trivial["psnr"]))
        metrics["psnr-of-mean"] = self._of_mean()
        metrics |= {name: _mean(values, rng) for name, values in zip(TRIVIAL, trivial["psnr"], strict=True)}
        metrics |= {name: Metric(NAN, 0) for name in self._skipped}
        return {name: metrics[name] for name in NAMES}

    def _lpips(self) -> Perceptual | None:
        if self._case.lpips is None:
            self._skipped["lpips"] = "no weights file"
            return None
        try:
            return perceptual(self._case.lpips)
        except DataError as error:
            self._skipped["lpips"] = str(error)
            return None

    def _found(self, name: str) -> np.ndarray:
        """Return a measure of all batches' pairs."""
        return np.concatenate([getattr(batch.found, name) for batch in self._batches])

    def _trivial(self, answer: str, name: str) -> np.ndarray:
        """Return the same of a trivial answer."""
        return np.concatenate([getattr(batch.trivial[answer], name) for batch in self._batches])

    def _of_mean(self) -> Metric:
        values = np.array([batch.of_mean for batch in self._batches])
        trivial = np.array([batch.trivial_of_mean for batch in self._batches]).T
        return _mean(values, self._case.rng).with_values(baseline=_best(np.mean, list(trivial)))

    def _identification(self) -> Metric:
        """Look up all answers at once among the training images and the samples that updates were made of.

        The latter need not be training data: a probe may use held-out samples.
        """
        if self._case.pool is None:
            return Metric(NAN, 0)
        pool = np.union1d(self._case.pool(), np.concatenate([batch.guess.samples for batch in self._batches]))
        guesses = [guess for batch in self._batches for guess in (batch.guess, *batch.trivial_guesses)]
        values = credits(guesses, pool, self._case.images)
        step = 1 + len(TRIVIAL)
        own, *trivial = (np.concatenate(values[start::step]) for start in range(step))
        known = bool(np.isfinite(own).all())
        return Metric(
            value=identification_rate(own),
            n=len(own),
            ci=interval_of_share(own, self._case.rng) if known else UNKNOWN,
            chance=1 / len(pool),
            baseline=_best(identification_rate, trivial),
        )


def _best(measure: Callable[[np.ndarray], float], answers: Sequence[np.ndarray], name: str = "") -> float:
    """Return the best score of the trivial answers that are defined for every batch; NaN when none is."""
    known = [float(measure(values)) for values in answers if np.isfinite(values).all()]
    choose = min if name in LOWER_IS_BETTER else max
    return choose(known, default=NAN)


def _mean(values: np.ndarray, rng: np.random.Generator) -> Metric:
    return Metric(float(values.mean()), len(values), bootstrap_mean(values, rng))


def _share(psnrs: np.ndarray, images: int, threshold: float) -> Metric:
    if np.isnan(psnrs).any():
        return Metric(NAN, images)
    rebuilt = int(np.count_nonzero(psnrs >= threshold))
    return Metric(rebuilt_share(psnrs, images, threshold), images, wilson(rebuilt, images))
