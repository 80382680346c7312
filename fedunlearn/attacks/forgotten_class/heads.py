"""The last layer as rows of numbers that can be compared between models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedunlearn.federation import Weights

DIGITS = 9  # differences beyond are rounding: equal models must give equal numbers


@dataclass(frozen=True)
class Head:
    """Rows and biases, each less its mean over the classes: a softmax does not change when all rows move alike.

    Attributes:
        weight: float64 (num_classes, d).
        bias: float64 (num_classes,), zeros for a head without.
        has_bias: whether it has one.
    """

    weight: np.ndarray
    bias: np.ndarray
    has_bias: bool

    @classmethod
    def read(cls, weights: Weights) -> Head:
        """Return the head of a model."""
        weight, has_bias = weights["head.weight"].astype(np.float64), "head.bias" in weights
        bias = weights["head.bias"].astype(np.float64) if has_bias else np.zeros(len(weight))
        return cls(weight - weight.mean(axis=0), bias - bias.mean(), has_bias)

    def answers(self, features: np.ndarray) -> np.ndarray:
        """Return what row c gives for features (num_classes, d) of class c: (num_classes,)."""
        return np.asarray((self.weight * features).sum(axis=1) + self.bias)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of (n, d) with the same row of another; 0 where one of them is zero."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    dots = (one * other).sum(axis=1)
    return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0).round(DIGITS)
