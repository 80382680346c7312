"""Which of several pictures of a class is kept: the attacked model chooses, by them and by moved copies of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedunlearn.attacks.model_inversion.priors.augment import most, shifted
from fedunlearn.attacks.model_inversion.target import Target


@torch.no_grad()
def steadiness(target: Target, images: Tensor, labels: Tensor) -> np.ndarray:
    """Return the mean of ln p_y (n,) over a picture and the four that are moved by two pixels along an axis.

    Flips and crops would make other digits and letters of them.
    """
    far = most(images)
    moves = [(0, 0), (far, 0), (-far, 0), (0, far), (0, -far)]
    logs = [target.ask(shifted(images, *move)).logits.log_softmax(dim=1) for move in moves]
    return torch.stack(logs).mean(dim=0).gather(1, labels[:, None])[:, 0].numpy(force=True)


def best_restarts(scores: np.ndarray, restarts: int) -> np.ndarray:
    """Return the row of the best of every `restarts` rows that follow each other, of scores (n * restarts,).

    Example:
        >>> best_restarts(np.array([0.1, 0.9, 0.5, 0.2]), 2)
        array([1, 2])
    """
    return np.arange(0, len(scores), restarts) + scores.reshape(-1, restarts).argmax(axis=1)
