"""Label counts by weighted least squares on public images that are as sure as the batch's own; for trained models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field
from scipy.special import expit, logit, logsumexp

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.bounds import fill_up, least_counts
from fedunlearn.attacks.label_restoration.fitting import nonnegative_fit
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.attacks.label_restoration.public_scores import Calibration, PublicScores
from fedunlearn.attacks.label_restoration.restoring import LabelledRestoration, LabelledSettings
from fedunlearn.attacks.targets import UpdateSettings

MARGINS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
SKEWED = (0.1, 0.3, 1.0)  # Dirichlet concentrations of batches that prefer some classes
EVEN = 30.0  # and of batches that do not
TYPICAL = 0.3  # concentration of the batches whose counts are in doubt
EVEN_PRIOR = 0.2
ROUNDS = 4  # of weighted least squares; the weights depend on the counts
FEW = 2  # samples per class, below which every batch is treated as skewed


class MatchedSettings(LabelledSettings):
    """Settings of `margin-matched`."""

    samples: int = Field(default=1000, ge=2, description="At most so many public images; time grows with the cube.")


@dataclass(frozen=True)
class Readings:
    """What labelled public images say about a batch.

    Attributes:
        least: (C,) counts that cannot be undercut.
        skewed: (C,) counts, if the batch prefers some classes.
        even: (C,) counts, if it does not.
        share: the probability of the latter; 0 where it is not asked for.
        doubt: how much of the counts the gradient leaves open, from 0 to 1.
    """

    least: np.ndarray
    skewed: np.ndarray
    even: np.ndarray
    share: float
    doubt: float

    @property
    def mixed(self) -> np.ndarray:
        """(C,) both answers, each with its probability."""
        return self.share * self.even + (1 - self.share) * self.skewed


@ATTACKS.register("margin-matched")
class MarginMatched(LabelledRestoration):
    """Label counts by weighted least squares on public images, as sure as the batch's own; for trained models.

    Source: this project. Three things spoil the published estimators once a model is trained, and three remedies
    follow. With K samples, gradients G (of the head's weights) and g (of its bias), and r = probabilities - one-hot:

    1. K g = sum of r is an identity, so only the probabilities are uncertain, and they scatter far more in some
       directions than in others. The counts solve scores(K G, K g) = sum_j count_j centre_j by least squares weighted
       with the covariance sum_j (count_j + count_j^2 / n_j) spread_j, n_j public images of class j, in a few rounds;
       scores, centres and spreads are those of `PublicScores`. On an untrained model the spreads vanish: exact.
    2. A model is surer of its training data than of public images, whose gradients are then too large. The margin
       added to the true class's logit is the one at which the class gradients need K images to explain the batch,
       not below 0 and not above twice what the model has learnt about public images.
    3. Noise makes even batches look skewed, and shrinking makes skewed ones look even. Both answers are formed, the
       even one with a Gaussian prior of multinomial spread around K/C and without margin, and mixed by the evidence
       for a Dirichlet-multinomial batch of either kind, with or without the margin (Gaussian, with the same
       covariance). With less than two samples per class there is nothing to gain from the even one.

    Counts are never below what the bias gradient says for certain, see `least_counts`.
    """

    Settings: ClassVar[type[UpdateSettings]] = MatchedSettings

    def __init__(self, settings: UpdateSettings) -> None:
        super().__init__(settings)
        self._latest: tuple[Outputs, PublicScores] | None = None  # of a broadcast: the same for all its gradients

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return the mixed answer."""
        return self.read(seen).mixed

    def read(self, seen: Observation) -> Readings:
        """Return both answers and what speaks for each."""
        scores = self._scores(seen.middle)
        weight, bias = seen.total * seen.weight, seen.total * seen.bias
        observed, least = scores.of_batch(weight, bias), least_counts(seen)
        problem = WeightedFit(observed, scores.sizes, seen.total, least)
        margin = matching_margin(scores, weight, bias, seen.total)
        plain, matched = scores.calibration(0.0), scores.calibration(margin)
        return Readings(
            least=least,
            skewed=problem.solve(matched),
            even=problem.solve(plain, prior_variance=seen.total / scores.num_classes),
            share=0.0 if seen.total < FEW * scores.num_classes else problem.evenness([plain, matched]),
            doubt=problem.doubt(plain),
        )

    def _scores(self, outputs: Outputs) -> PublicScores:
        if self._latest is None or self._latest[0] is not outputs:
            self._latest = outputs, PublicScores(outputs)
        return self._latest[1]


def matching_margin(scores: PublicScores, weight: np.ndarray, bias: np.ndarray, total: int) -> float:
    """Return the margin at which the batch has the mass of `total` images, in quarters; at most twice what was learnt.

    Even batches have a small and uncertain mass; the limit keeps models that learnt nothing at 0.
    """
    limit, before, lower = 2 * scores.learnt(), 0.0, 0.0
    for margin in MARGINS:
        mass = float(np.log(max(scores.mass(weight, bias, margin), 1e-9) / total))
        if mass >= 0:
            found = before + (margin - before) * lower / (lower - mass) if lower < 0 else margin
            return round(4 * min(found, limit)) / 4
        if margin >= limit:
            break
        before, lower = margin, mass
    return round(4 * min(MARGINS[-1], limit)) / 4


class WeightedFit:
    """Counts of `total` samples, none below `least` (C,), that explain `observed` scores (d,).

    `sizes` (C,) says how many images the calibrations are of.
    """

    def __init__(self, observed: np.ndarray, sizes: np.ndarray, total: int, least: np.ndarray) -> None:
        self.observed, self.sizes, self.total, self.least = observed, sizes, total, least
        self.even = np.full(len(sizes), total / len(sizes))

    def solve(self, calibration: Calibration, prior_variance: float | None = None) -> np.ndarray:
        """Return the counts (C,) by iterated weighted least squares, with a Gaussian prior around K/C if asked for."""
        counts = self.even
        for _ in range(ROUNDS):
            columns, target = self._whiten(calibration, 0.98 * counts + 0.02 * self.even)
            if prior_variance is not None:
                columns = np.vstack([columns, np.eye(len(counts)) / np.sqrt(prior_variance)])
                target = np.append(target, self.even / np.sqrt(prior_variance))
            counts = self._bounded(columns, target)
        return counts

    def evenness(self, calibrations: Sequence[Calibration]) -> float:
        """Return the probability that samples were drawn evenly from all classes, whichever calibration is right."""
        evidence = np.stack([self._evidence(calibration) for calibration in calibrations])
        log_odds = np.log(len(SKEWED)) + logsumexp(evidence[:, -1]) - logsumexp(evidence[:, :-1])
        return float(expit(logit(EVEN_PRIOR) + log_odds))

    def doubt(self, calibration: Calibration) -> float:
        """Return the share of the counts' variance that scores of this noise leave open, from 0 to 1.

        It is the mean over all directions that keep the sum, for counts of a Dirichlet(0.3) mix, noise as of even
        counts: a matter of the model, the public images and the number of samples, not of the batch.
        """
        columns, _ = self._whiten(calibration, self.even)
        lengths = np.linalg.svd(columns - columns.mean(axis=1, keepdims=True), compute_uv=False)[:-1]
        return float(np.mean(1 / (1 + self._variance(TYPICAL) * lengths**2)))

    def _evidence(self, calibration: Calibration) -> np.ndarray:
        """Return the log density of the scores for each mix, even last; Gaussian, noise as of even counts."""
        columns, target = self._whiten(calibration, self.even)
        centred, rest = columns - columns.mean(axis=1, keepdims=True), target - columns @ self.even
        values, vectors = np.linalg.eigh(centred.T @ centred)
        noise = -0.5 * rest @ rest - 0.5 * np.linalg.slogdet(self._noise(calibration, self.even))[1]
        along = vectors.T @ (centred.T @ rest)
        return noise + np.array([log_evidence(self._variance(mix), values, along) for mix in (*SKEWED, EVEN)])

    def _variance(self, concentration: float) -> float:
        """Return the variance, in every direction that keeps the sum, of counts with a Dirichlet(concentration) mix."""
        spread = len(self.even) * concentration
        return self.even[0] * (self.total + spread) / (1 + spread)

    def _whiten(self, calibration: Calibration, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the equations (d, C) and (d,) in units of their noise, given about these counts."""
        factor = np.linalg.cholesky(self._noise(calibration, counts))
        return np.linalg.solve(factor, calibration.centres), np.linalg.solve(factor, self.observed)

    def _noise(self, calibration: Calibration, counts: np.ndarray) -> np.ndarray:
        """Return the covariance (d, d) of the scores: of the samples, and of the centres they are compared with."""
        noise: np.ndarray = np.tensordot(counts + counts**2 / self.sizes, calibration.spreads, axes=1)
        return noise

    def _bounded(self, columns: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the least-squares counts with the right sum and no entry below its bound."""
        firm = 10 * np.abs(columns).mean()
        system = np.vstack([columns, np.full(columns.shape[1], firm)])
        above = nonnegative_fit(system, np.append(target, firm * self.total) - system @ self.least)
        return fill_up(self.least, self.least + above, self.total)


def log_evidence(variance: float, values: np.ndarray, along: np.ndarray) -> float:
    """Return the log density, up to a constant, of whitened scores when counts vary around K/C with this variance.

    `values` are the eigenvalues of the whitened system's Gram matrix, `along` the scores' parts along its vectors.
    """
    gain = 1 + variance * np.maximum(values, 0.0)
    return float(0.5 * np.sum(variance * along**2 / gain) - 0.5 * np.log(gain).sum())
