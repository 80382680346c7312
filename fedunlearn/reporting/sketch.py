"""Long update vectors made short, so that a chart can show which are alike."""

import numpy as np

from fedunlearn.federation import Update, Weights
from fedunlearn.randomness import rng

WIDTH = 256


def change(update: Update, broadcast: Weights) -> np.ndarray:
    """Return what an update says about the model as one float32 vector: the gradient, or the change of the weights."""
    parts = []
    for name, array in update.payload.items():
        if array.dtype.kind == "f":
            base = broadcast[name] if update.kind == "weights" else 0
            parts.append(np.ravel(array - base).astype(np.float32))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


class CountSketch:
    """A fixed random projection to 256 numbers that keeps inner products on average (Charikar and others 2002).

    Every entry of a vector is added, with a random sign, to one random entry of the sketch: no matrix is stored.
    """

    def __init__(self) -> None:
        self._place: np.ndarray | None = None
        self._sign: np.ndarray | None = None

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """Return the sketch (256,) of a vector; the vectors of one instance all have the same length."""
        if self._place is None or self._sign is None:
            draws = rng(0, "judge", 0, len(vector))
            self._place = draws.integers(0, WIDTH, len(vector), dtype=np.uint16)
            self._sign = draws.integers(0, 2, len(vector), dtype=np.int8) * np.int8(2) - np.int8(1)
        return np.bincount(self._place, weights=vector * self._sign, minlength=WIDTH)
