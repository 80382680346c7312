"""How far a claimed picture is from the private sample of its class that is nearest."""

import numpy as np
from scipy.spatial.distance import cdist

from fedunlearn.judging.metric import METRICS


@METRICS.register("knn-distance")
def knn_distance(true: np.ndarray, claimed: np.ndarray) -> np.ndarray:
    """Squared distance of a claimed picture to the nearest private sample of its class, in the judge's features.

    Args:
        true: (n, d), of one class, n >= 1.
        claimed: (m, d), claimed of that class.

    Returns:
        (m,), whose mean it is.
    """
    return np.asarray(cdist(claimed, true, "sqeuclidean").min(axis=1))


def nearest(true: np.ndarray, claimed: np.ndarray) -> np.ndarray:
    """Return the place (m,) of the true sample that each claimed one is nearest to."""
    return np.asarray(cdist(claimed, true, "sqeuclidean").argmin(axis=1))
