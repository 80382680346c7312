"""How large the missing weights of a matrix are made, by what is left of their rows."""

from __future__ import annotations

from typing import Literal

import numpy as np

Magnitude = Literal["neuron-max", "sampled", "averaged", "recovered", "quantised", "oracle"]
ABOVE = 1 + 1e-6  # the row's largest weight is exceeded by so much: as published
LEVELS = (-8, 7)  # of a signed number of 4 bits


def neuron_max(matrix: np.ndarray, missing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return max(|N(mean, deviation^2)|, the row's largest |w|): Neuron-Max Scaling. A draw may exceed the maximum."""
    return np.maximum(sampled(matrix, missing, rng), row_max(matrix, missing) * ABOVE)


def sampled(matrix: np.ndarray, missing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return |N(mean, deviation^2)| of the kept weights of each row."""
    mean, deviation = row_moments(matrix, missing)
    return np.abs(mean + deviation * rng.standard_normal(matrix.shape))


def averaged(matrix: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the mean |w| of each row's kept weights."""
    mean, _ = row_moments(np.abs(matrix), missing)
    return np.broadcast_to(mean, matrix.shape)


def quantised(matrix: np.ndarray, missing: np.ndarray, recovered: np.ndarray) -> np.ndarray:
    """Return the recovered magnitude, rounded to a symmetric signed 4-bit number of its row's scale max|w| / 7."""
    scale = row_max(matrix, missing) / LEVELS[1]
    steps = np.rint(recovered / np.where(scale > 0, scale, 1.0)).clip(*LEVELS)
    return np.abs(steps * scale)


def row_max(matrix: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the largest |w| of each row's kept weights, (rows, 1); 0 of none."""
    return np.where(missing, 0.0, np.abs(matrix)).max(axis=1, keepdims=True)


def row_moments(matrix: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each row's kept weights, both (rows, 1); 0 of none."""
    there = np.maximum((~missing).sum(axis=1, keepdims=True), 1)
    mean = np.where(missing, 0.0, matrix).sum(axis=1, keepdims=True) / there
    squares = np.where(missing, 0.0, (matrix - mean) ** 2).sum(axis=1, keepdims=True)
    return mean, np.sqrt(squares / there)
