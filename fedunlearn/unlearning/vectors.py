"""A model's trained parameters as one float64 vector: what the server computes lengths and angles of.

Sums run in NumPy, not in BLAS, whose number of threads decides the last bits of a product.
"""

from __future__ import annotations

import math

import numpy as np

from fedunlearn.federation import Weights


def flatten(weights: Weights, parameters: frozenset[str]) -> np.ndarray:
    """Return the arrays named in `parameters`, one after the other in the model's order, as float64 (d,)."""
    return np.concatenate([array.ravel() for name, array in weights.items() if name in parameters], dtype=np.float64)


def moved(weights: Weights, step: np.ndarray, parameters: frozenset[str]) -> Weights:
    """Return `weights` plus `step`, which is laid out as `flatten` does; what is not in `parameters` stays as it is."""
    new, start = dict(weights), 0
    for name, array in weights.items():
        if name in parameters:
            part = step[start : start + array.size].reshape(array.shape)
            new[name] = (array + part).astype(array.dtype)
            start += array.size
    return new


def inner(one: np.ndarray, other: np.ndarray) -> float:
    """Return the inner product of two vectors (d,)."""
    return float(np.sum(one * other))


def norm(vector: np.ndarray) -> float:
    """Return the Euclidean length of a vector (d,)."""
    return math.sqrt(inner(vector, vector))
