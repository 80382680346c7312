"""What the label attacks share: statistics of the head, interpolation over local steps, rounding to counts."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from fedunlearn.attacks.base import Attack, Finds
from fedunlearn.attacks.gradients import local_steps, mean_gradient
from fedunlearn.attacks.targets import UpdateSettings, choose_targets
from fedunlearn.federation import Weights
from fedunlearn.models import Classifier
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import LabelCounts
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

BATCH = 256


class RestorationSettings(UpdateSettings):
    """Settings of the label attacks."""

    statistics: Literal["auto", "dummies", "public"] = Field(
        default="auto",
        description='Where mean outputs are estimated: on normal noise ("dummies"), on public images, or "auto": '
        "public where the observer has some.",
    )
    samples: int = Field(default=1000, ge=1, description="At most so many dummies or public images.")


@dataclass(frozen=True)
class HeadStatistics:
    """Estimates of what the observed samples look like at the head, at each local step (T = 1 for a gradient).

    Attributes:
        shares: (T,) how much each step contributes to the update; sums to 1.
        probabilities: (T, num_classes) mean predicted probability of each class.
        feature_sums: (T,) mean over samples of the sum of the head's inputs.
    """

    shares: np.ndarray
    probabilities: np.ndarray
    feature_sums: np.ndarray


@torch.no_grad()
def measure(model: Classifier, images: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a model's mean probabilities (num_classes,) and mean feature sum over images (n, C, H, W)."""
    probabilities, feature_sum = np.zeros(model.head.out_features), 0.0
    for start in range(0, len(images), BATCH):
        features = model.features(torch.from_numpy(images[start : start + BATCH]).to(model.head.weight.device))
        probabilities += torch.softmax(model.head(features).double(), dim=1).sum(0).numpy(force=True)
        feature_sum += float(features.double().sum())
    return probabilities / len(images), feature_sum / len(images)


def interpolate(start: tuple[np.ndarray, float], end: tuple[np.ndarray, float], shares: np.ndarray) -> HeadStatistics:
    """Return the statistics at each of T steps, t/T of the way (t = 0..T-1) between two measurements."""
    way = np.arange(len(shares)) / len(shares)
    probabilities = np.outer(1 - way, start[0]) + np.outer(way, end[0])
    return HeadStatistics(shares, probabilities, (1 - way) * start[1] + way * end[1])


def round_counts(estimate: np.ndarray, total: int) -> np.ndarray:
    """Return integer counts (num_classes,) that sum to `total`, nearest to a real-valued estimate.

    Negative entries count as zero, the rest is scaled to `total`, and what is left after rounding down goes to
    the largest remainders (ties: the lower class). Where nothing is positive, the guess is uniform.

    Example:
        >>> round_counts(np.array([2.2, -0.3, 0.9, 0.9]), 4).tolist()
        [2, 0, 1, 1]
    """
    counts = np.maximum(estimate, 0.0)
    if not counts.sum():
        counts = np.ones_like(counts)
    counts = counts / counts.sum() * total
    whole = np.floor(counts).astype(np.int64)
    remainders = np.argsort(-(counts - whole), kind="stable")
    whole[remainders[: total - whole.sum()]] += 1
    return whole


class LabelRestoration(Attack):
    """A linear estimate of the label counts from the last layer's gradient; subclasses give the formula.

    The batch of a FedSGD client has as many samples as the server counts for it; for FedAvg the counts are of all
    the client's data. Weights are converted to the mean gradient of the local steps first, and the statistics are
    interpolated between the broadcast and the returned model, t/T of the way at step t (Dimitrov et al., Data
    Leakage in Federated Averaging, TMLR 2022), each step weighted by its share in the update. Batch normalisation
    is used in evaluation mode, with the model's own statistics.
    """

    Settings: ClassVar[type[RestorationSettings]] = RestorationSettings
    needs: ClassVar[Access] = "updates"
    finds: ClassVar[Finds] = "labels"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> LabelCounts:
        """Return one count vector per chosen update."""
        broadcast = view.broadcast(self.settings.round)
        model = knowledge.model(broadcast)
        images = self._images(knowledge, model, rng)
        start = measure(model, images)
        targets = choose_targets(view, self.settings)
        counts = []
        for target in targets:
            update = view.update(*target)
            gradient = mean_gradient(update, broadcast, knowledge.learning)
            statistics = HeadStatistics(np.ones(1), start[0][None], np.array(start[1:]))
            if update.kind == "weights":
                steps = local_steps(knowledge.learning, update.num_examples)
                end = measure(knowledge.model(update.payload), images)
                statistics = interpolate(start, end, steps.weights)
            counts.append(round_counts(self.estimate(gradient, statistics, update.num_examples), update.num_examples))
        return LabelCounts(targets, tuple(counts))

    def _images(self, knowledge: Knowledge, model: Classifier, rng: np.random.Generator) -> np.ndarray:
        """Return public images, or dummies: standard normal in the model's normalised input space."""
        public, wanted, samples = knowledge.public_images, self.settings.statistics, self.settings.samples
        if wanted == "public" and public is None:
            raise AccessRefused('statistics = "public" needs the flag "public-unlabelled"')
        if wanted == "dummies" or public is None:
            noise = rng.normal(size=(samples, *knowledge.image_shape))
            mean, std = (values.numpy(force=True) for values in (model.mean, model.std))
            return (mean + std * noise).astype(np.float32)
        return public[rng.permutation(len(public))[:samples]]

    @abstractmethod
    def estimate(self, gradient: Weights, statistics: HeadStatistics, total: int) -> np.ndarray:
        """Return the real-valued counts (num_classes,) of `total` samples from the head's mean gradient."""
