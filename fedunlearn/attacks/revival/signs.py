"""Which sign the missing weights of a matrix had: sources that return a real number per weight.

Its sign is the claim, its size how sure the claim is among those of the same matrix; 0 claims nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from fedunlearn.attacks.revival.completion import means

Signs = Literal["soft-impute", "random", "column-mean", "row-mean", "oracle"]


def random_signs(missing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return random signs of random sizes."""
    return np.where(missing, rng.standard_normal(missing.shape), 0.0)


def mean_signs(matrix: np.ndarray, missing: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of what is observed of a weight's column (axis 0) or row (axis 1)."""
    return np.where(missing, means(matrix, missing, axis), 0.0)


def strongest(recovered: np.ndarray, missing: np.ndarray, ratio: float) -> np.ndarray:
    """Return the recovered values, those of the least sure set to 0: Top-K sign retention.

    Args:
        recovered: (rows, columns), one matrix's.
        missing: bool, of the same shape.
        ratio: the share of the missing that is kept; of equally sure ones the first.
    """
    places = np.flatnonzero(missing)
    sizes = np.abs(recovered.ravel()[places])
    kept = places[np.argsort(-sizes, kind="stable")[: round(ratio * len(places))]]
    found = np.zeros(recovered.size)
    found[kept] = recovered.ravel()[kept]
    return found.reshape(recovered.shape)
