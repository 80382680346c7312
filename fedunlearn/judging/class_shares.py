"""How well the claimed class shares of what was forgotten agree with the true ones."""

import numpy as np

from fedunlearn.judging.metric import METRICS, NAN


@METRICS.register("distribution-error")
def distribution_error(claimed: np.ndarray, true: np.ndarray) -> float:
    """Total variation between claimed and true class shares of what was forgotten: 0 equal, 1 disjoint; NaN if failed.

    Args:
        claimed, true: (num_classes,), each summing to 1.
    """
    if not np.isfinite(claimed).all():
        return NAN
    return float(np.abs(np.asarray(claimed, dtype=float) - true).sum() / 2)


def shares(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the share of each class among labels (n,), (num_classes,)."""
    return np.bincount(labels, minlength=num_classes) / len(labels)
