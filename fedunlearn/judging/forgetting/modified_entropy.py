"""Modified entropy: a model's uncertainty that also counts being sure of a wrong class.

Source: Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models", USENIX Security 2021.
"""

import numpy as np

from fedunlearn.judging.forgetting.confidence import confidences

_TINY = 1e-30  # a wrong class with probability 1 would be infinitely surprising


def modified_entropy(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return -(1 - p_y) ln p_y - sum over the other classes i of p_i ln(1 - p_i), (n,), 0 where p_y is 1.

    Args:
        probabilities: (n, num_classes), rows sum to 1.
        labels: the true classes, int (n,).

    Example:
        >>> modified_entropy(np.array([[0.7, 0.2, 0.1]]), np.array([0])).round(4).tolist()
        [0.1622]
    """
    own = confidences(probabilities, labels)
    surprise = -probabilities * np.log(np.maximum(1 - probabilities, _TINY))
    surprise[np.arange(len(labels)), labels] = -(1 - own) * np.log(np.maximum(own, _TINY))
    return surprise.sum(axis=1)
