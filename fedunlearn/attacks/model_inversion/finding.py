"""From candidates to what is claimed: the attacked model chooses among restarts and puts the best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedunlearn.attacks.model_inversion.selection import best_restarts, steadiness
from fedunlearn.attacks.model_inversion.target import Target
from fedunlearn.observer.findings import ClassImages


def rows_of(classes: np.ndarray, images_per_class: int, restarts: int = 1) -> np.ndarray:
    """Return the class (n,) of each candidate: the restarts of a picture follow each other, so do those of a class."""
    return np.repeat(classes, images_per_class * restarts)


def chosen(target: Target, images: Tensor, labels: Tensor, restarts: int, notes: dict[str, Any]) -> ClassImages:
    """Return the best of every `restarts` candidates, those first in each class that the model is surest of.

    Args:
        target: the attacked model.
        images: (n * restarts, C, H, W) in [0, 1], in the order of `rows_of`.
        labels: (n * restarts,).
        restarts: how many candidates of a picture there are.
        notes: what the attack tells; how it went is added.
    """
    scores = steadiness(target, images, labels)
    kept = best_restarts(scores, restarts)
    told = labels.numpy(force=True)[kept]
    order = np.lexsort((-scores[kept], told))
    told, rows = told[order], kept[order]
    notes = notes | {"evaluations": target.evaluations, "restarts": restarts, **summary(told, scores[rows])}
    return ClassImages(images[torch.from_numpy(rows).to(images.device)].float().numpy(force=True), told, notes)


def summary(labels: np.ndarray, log_probabilities: np.ndarray) -> dict[str, Sequence[float]]:
    """Return each class's mean probability, the geometric one, as far as pictures of it were made."""
    means = [float(np.exp(log_probabilities[labels == label].mean())) for label in np.unique(labels)]
    return {"confidence": [round(mean, 4) for mean in means]}
