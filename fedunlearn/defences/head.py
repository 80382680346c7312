"""The last layer of a model in double precision, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedunlearn.federation import Weights


@dataclass(frozen=True)
class Head:
    """The head's `rows` (num_classes, d) and `bias` (num_classes,), float64."""

    rows: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, weights: Weights) -> Head:
        """Return copies of a model's head."""
        return cls(weights["head.weight"].astype(np.float64), weights["head.bias"].astype(np.float64))

    def placed_in(self, weights: Weights) -> Weights:
        """Return the model with this head."""
        own = {"head.weight": self.rows, "head.bias": self.bias}
        return weights | {name: array.astype(weights[name].dtype) for name, array in own.items()}

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return (n, num_classes) for features (n, d)."""
        return np.asarray(features @ self.rows.T + self.bias)

    def others(self, classes: tuple[int, ...]) -> np.ndarray:
        """Return the numbers of the classes that are not in `classes`, ascending."""
        return np.setdiff1d(np.arange(len(self.bias)), classes)
