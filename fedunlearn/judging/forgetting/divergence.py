"""Jensen-Shannon divergence between two models' outputs: to a retrained model, and to one that knows nothing."""

import numpy as np
from scipy.special import rel_entr

from fedunlearn.judging.metric import mean_or_nan


def js_divergences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence of each pair of rows in nats, (n,), between 0 and ln 2.

    Args:
        first, second: probabilities (n, num_classes), rows sum to 1.

    Example:
        >>> js_divergences(np.array([[0.7, 0.2, 0.1]]), np.array([[0.1, 0.2, 0.7]])).round(4).tolist()
        [0.2531]
    """
    middle = (first + second) / 2
    both = rel_entr(first, middle).sum(axis=1) + rel_entr(second, middle).sum(axis=1)
    return np.maximum(both / 2, 0)  # rounding can leave equal rows a hair below 0


def js_divergence(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean of `js_divergences` over the samples, 0 for equal models; NaN without samples."""
    return mean_or_nan(js_divergences(first, second))


def zero_retrain_forgetting(own: np.ndarray, random: np.ndarray) -> float:
    """Return the ZRF score: 1 - the mean divergence from a randomly initialised model, in [1 - ln 2, 1].

    Source: Chundawat, Tarun, Mandal and Kankanhalli, "Can Bad Teaching Induce Forgetting?", AAAI 2023
    (arXiv 2205.08096, equation 6). Read it beside the retrained model's: 1 means that the model answers like a blind
    one, which a retrained model need not.

    Args:
        own: probabilities on the forgotten samples, (n, num_classes).
        random: those of the randomly initialised model.
    """
    return 1 - js_divergence(own, random)
