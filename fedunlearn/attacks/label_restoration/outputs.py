"""What the head of a model makes of images: features, probabilities, and the gradients of each class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from fedunlearn.models import Classifier
from fedunlearn.observer.access import AccessRefused

BATCH = 256


@dataclass(frozen=True)
class Outputs:
    """n images at the head of a model, all float64.

    Attributes:
        features: (n, M) the head's inputs.
        probabilities: (n, C).
        labels: (n,) or None where they are unknown.
    """

    features: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray | None = None

    @cached_property
    def mean_probabilities(self) -> np.ndarray:
        """(C,)."""
        return self.probabilities.mean(axis=0)

    @cached_property
    def feature_sum(self) -> float:
        """Mean over the images of the sum of the head's inputs."""
        return float(self.features.sum(axis=1).mean())

    @cached_property
    def errors(self) -> np.ndarray:
        """(n, C) gradient of each image's loss by the logits: probabilities less the one-hot label."""
        return self.probabilities - np.eye(self.probabilities.shape[1])[self._known_labels]

    @cached_property
    def class_probabilities(self) -> np.ndarray:
        """(C, C) row j: mean probabilities of class j's images; of all images for a class that has none."""
        return np.stack([self.probabilities[chosen].mean(axis=0) for chosen in self._by_class])

    @cached_property
    def class_gradients(self) -> np.ndarray:
        """(C, C, M) the head's mean weight gradient of each class's images; of all, so labelled, where it has none."""
        classes = np.eye(self.probabilities.shape[1])
        return np.stack(
            [
                (self.probabilities[chosen] - classes[label]).T @ self.features[chosen] / chosen.sum()
                for label, chosen in enumerate(self._by_class)
            ]
        )

    @cached_property
    def absent(self) -> tuple[int, ...]:
        """Classes of which there is no image."""
        counts = np.bincount(self._known_labels, minlength=self.probabilities.shape[1])
        return tuple(np.flatnonzero(counts == 0).tolist())

    @property
    def _by_class(self) -> list[np.ndarray]:
        """Masks (n,) of each class's images; everything for a class that has none."""
        chosen = [self._known_labels == label for label in range(self.probabilities.shape[1])]
        return [mask if mask.any() else np.ones_like(mask) for mask in chosen]

    @property
    def _known_labels(self) -> np.ndarray:
        if self.labels is None:
            raise AccessRefused('statistics of each class need the flag "public-labelled"')
        return self.labels


@torch.no_grad()
def measure(model: Classifier, images: np.ndarray, labels: np.ndarray | None = None) -> Outputs:
    """Return what the head of `model` makes of images (n, C, H, W) in [0, 1]; batch norm as the model is set."""
    device = model.head.weight.device
    features = torch.cat(
        [model.features(torch.from_numpy(images[i : i + BATCH]).to(device)) for i in range(0, len(images), BATCH)]
    )
    probabilities = torch.softmax(model.head(features).double(), dim=1)
    return Outputs(features.double().numpy(force=True), probabilities.numpy(force=True), labels)
