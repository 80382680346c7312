"""What the bias gradient says for certain: how many samples of each class there are at least."""

import numpy as np

from fedunlearn.attacks.label_restoration.observation import Observation

ROUNDING = 1e-5  # of a probability: what single precision may add to a bound


def least_counts(seen: Observation) -> np.ndarray:
    """Return counts (C,) that cannot be undercut: -K g, since probabilities are not negative; at most K altogether.

    Of one gradient the bound is rounded up, and the class with the lowest entry is always there: with K = 1 that is
    the answer, on any model. Over local steps it holds for equal batches.
    """
    least = -seen.total * seen.bias
    if len(seen.shares) == 1:
        least = np.ceil(np.maximum(least - seen.total * ROUNDING, 0.0))
        least[seen.bias.argmin()] = max(least[seen.bias.argmin()], 1.0)
    least = np.maximum(least, 0.0)
    return least * min(1.0, seen.total / max(least.sum(), 1e-300))


def fill_up(least: np.ndarray, estimate: np.ndarray, total: int) -> np.ndarray:
    """Return counts (C,) of `total` samples: `least`, and the rest in proportion to what `estimate` has above it."""
    above, left = np.maximum(estimate - least, 0.0), total - least.sum()
    return least + above * left / above.sum() if above.any() else least + left / len(least)
