"""Least squares with coefficients that are not negative."""

import numpy as np
from scipy.optimize import nnls


def nonnegative_fit(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return x (k,) >= 0 that minimises |columns @ x - target|, for columns (d, k) and target (d,).

    The triangular factor of a QR decomposition stands for the d equations, which may be many.
    """
    triangle = np.asarray(np.linalg.qr(np.column_stack([columns, target]), mode="r"))
    solution: np.ndarray = nnls(triangle[:, :-1], triangle[:, -1])[0]
    return solution
