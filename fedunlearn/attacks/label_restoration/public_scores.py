"""What the head gradients of single public images look like, as they are and as if the model were surer of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fedunlearn.attacks.label_restoration.fitting import nonnegative_fit
from fedunlearn.attacks.label_restoration.outputs import Outputs

RIDGE = 1.0  # of the regression on gradients, in mean squared norms of a gradient
POOLED = 10  # images' worth of the spread of all classes in the spread of each
FLOOR = 1e-3  # of every score's variance, in mean variances
STAND_INS = 50  # images that stand for a class without any


@dataclass(frozen=True)
class Calibration:
    """Mean (d, C) and covariance (C, d, d) of the scores of one image of each class."""

    centres: np.ndarray
    spreads: np.ndarray


class PublicScores:
    """Scores of head gradients: few numbers that are linear in the gradient, calibrated on labelled public images.

    The gradient of one image is (r h^T, r), r = probabilities - one-hot and h the head's inputs. Its scores are r and
    a ridge regression of its probabilities on r h^T, each without the last class, which follows from the others. Both
    are linear, so the scores of a batch are the sum of its images'. All is done with inner products, (r . r')
    (h . h'), never with C x M numbers for each image, and the scores of a public image come from the regression on
    all others. A `margin` asks what the same images would give if the logit of their true class were that much
    higher. Some images stand for a class that has none.
    """

    def __init__(self, outputs: Outputs) -> None:
        images, labels = stand_ins(outputs)
        self.features, self.probabilities = outputs.features[images], outputs.probabilities[images]
        self.num_classes = self.probabilities.shape[1]
        self.truth = np.eye(self.num_classes)[labels]  # (n, C)
        self.sizes = self.truth.sum(axis=0)  # (C,)
        self._calibrations: dict[float, Calibration] = {}

    def errors(self, margin: float) -> np.ndarray:
        """Return r of each image, (n, C)."""
        raised = self.probabilities * np.exp(margin * self.truth)
        return raised / raised.sum(axis=1, keepdims=True) - self.truth

    def learnt(self) -> float:
        """Return how much surer the model is of true classes than of classes at random: a logarithm, not below 0."""
        sure = np.mean(np.sum(self.probabilities * self.truth, axis=1))
        chance = np.mean(self.truth @ self.probabilities.mean(axis=0))
        return max(0.0, float(np.log(sure / chance)))

    def of_batch(self, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return the scores (2C - 2,) of a batch whose summed gradients are `weight` (C, M) and `bias` (C,)."""
        likeness = np.sum((self.features @ weight.T) * self._errors, axis=1)
        return np.concatenate([bias[:-1], likeness @ self._regression])

    def calibration(self, margin: float) -> Calibration:
        """Return what one image of each class scores."""
        if margin not in self._calibrations:
            self._calibrations[margin] = self._calibrate(self._own_scores(margin))
        return self._calibrations[margin]

    def mass(self, weight: np.ndarray, bias: np.ndarray, margin: float) -> float:
        """Return how many images explain a batch: the sum of the non-negative mix of class gradients nearest to it."""
        shares, scale = self.truth / self.sizes, np.sqrt(self._bias_weight)
        errors = self.errors(margin)
        of_class = [errors[mine].T @ self.features[mine] / mine.sum() for mine in self.truth.T > 0]
        columns = np.column_stack([np.stack(of_class).reshape(self.num_classes, -1), scale * shares.T @ errors])
        gram, reached = columns @ columns.T, columns @ np.append(weight, scale * bias)
        factor = np.linalg.cholesky(gram + 1e-9 * np.trace(gram) * np.eye(len(gram)))
        return float(nonnegative_fit(factor.T, np.linalg.solve(factor, reached)).sum())

    def _own_scores(self, margin: float) -> np.ndarray:
        """Return (n, 2C - 2): the scores of each image, from the regression on the others."""
        errors = self.errors(margin)
        likeness = (self._errors @ errors.T) * self._products  # (others, images)
        own = np.sum(self._inverse * likeness, axis=0) / np.diag(self._inverse)
        return np.hstack([errors[:, :-1], likeness.T @ self._regression - own[:, None] * self._regression])

    def _calibrate(self, scores: np.ndarray) -> Calibration:
        centres = scores.T @ self.truth / self.sizes
        apart = scores - self.truth @ centres.T
        pooled = apart.T @ apart / len(apart)
        floor = (FLOOR * np.trace(pooled) / len(pooled) + 1e-9) * np.eye(len(pooled))
        mine = [apart[self.truth[:, label] > 0] for label in range(self.num_classes)]
        spreads = [(part.T @ part + POOLED * pooled) / (len(part) + POOLED) + floor for part in mine]
        return Calibration(centres, np.stack(spreads))

    @cached_property
    def _errors(self) -> np.ndarray:
        return self.errors(0.0)

    @cached_property
    def _products(self) -> np.ndarray:
        """(n, n) h . h'."""
        return self.features @ self.features.T

    @property
    def _bias_weight(self) -> float:
        """Mean squared norm of h: the bias counts as much as all weights."""
        return float(np.trace(self._products)) / len(self._products)

    @cached_property
    def _inverse(self) -> np.ndarray:
        """(n, n) inverse of the regression's system."""
        likeness = (self._errors @ self._errors.T) * self._products
        ridge = RIDGE * np.trace(likeness) / len(likeness)
        return np.linalg.inv(likeness + (ridge + 1e-12) * np.eye(len(likeness)))

    @cached_property
    def _regression(self) -> np.ndarray:
        """(n, C - 1) weights of the images in the regression of probabilities, less their mean, on gradients."""
        return self._inverse @ (self.probabilities - self.probabilities.mean(axis=0))[:, :-1]


def stand_ins(outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (n,) of images and their labels (n,); for a class without images, of some of all images."""
    assert outputs.labels is not None
    images, labels = [np.arange(len(outputs.labels))], [outputs.labels]
    for label in outputs.absent:
        images.append(np.arange(len(outputs.labels))[:STAND_INS])
        labels.append(np.full(len(images[-1]), label))
    return np.concatenate(images), np.concatenate(labels)
