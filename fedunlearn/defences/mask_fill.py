"""What the defences share that put something where unlearning has left zeros."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from fedunlearn.defences.base import Occasion, ReleaseDefence
from fedunlearn.federation import Weights


class MaskFill(ReleaseDefence):
    """Base of the defences that fill pruned weights, so that exact zeros do not show where something was removed.

    What is exactly zero under the mask is filled, once: from then on it is trained like every other weight, and a
    later release leaves it alone, for a value that never moves, or jumps in every round, gives the mask away to those
    who watch rounds. Where nothing was pruned, as on controls, there is nothing to fill.
    """

    def release(self, weights: Weights, occasion: Occasion) -> Weights:
        """Return the model with its pruned weights filled."""
        holes = {name: mask & (weights[name] == 0) for name, mask in occasion.pruned.items()}
        if not self.settings.scale or not any(hole.any() for hole in holes.values()):
            return weights
        draws = occasion.fixed()
        filled = {}
        for name, mask in occasion.pruned.items():
            values = self.values(name, weights, mask, draws).astype(weights[name].dtype)
            filled[name] = np.where(holes[name], values, weights[name])
        return weights | filled

    @abstractmethod
    def values(self, name: str, weights: Weights, mask: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """Return what would be put into each place of the tensor `name`, in its shape; the mask's places are used."""
