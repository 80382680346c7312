"""One set of images from the copies that a search kept for every epoch."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def merge_copies(copies: np.ndarray) -> np.ndarray:
    """Return the mean (n, C, H, W) of copies (E, n, C, H, W), each put in the order of the first beforehand.

    The order is the one of the least squared error (Dimitrov et al., TMLR 2022). Copies with NaN are not merged.
    """
    if len(copies) == 1 or not np.isfinite(copies).all():
        return copies[0]
    first = copies[0].reshape(copies.shape[1], -1).astype(np.float64)
    ordered = [copies[0]]
    for other in copies[1:]:
        flat = other.reshape(len(other), -1).astype(np.float64)
        distances = ((first[:, None] - flat[None]) ** 2).sum(axis=2)
        ordered.append(other[linear_sum_assignment(distances)[1]])
    return np.stack(ordered).mean(axis=0)
