"""How sure a model is of the true class: as a probability, and as a margin that does not saturate."""

import numpy as np
from scipy.special import logsumexp


def confidences(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of the true class, (n,) in [0, 1].

    Args:
        probabilities: (n, num_classes), rows sum to 1.
        labels: int (n,).
    """
    return probabilities[np.arange(len(labels)), labels]


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the logit of the true class less the log-sum-exp of the others, float64 (n,).

    It equals ln p - ln(1 - p) of the true class, but from logits it stays finite where p rounds to 0 or 1.

    Args:
        logits: (n, num_classes), at least two classes.
        labels: int (n,).
    """
    rows = np.arange(len(labels))
    others = logits.astype(np.float64)
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return own - logsumexp(others, axis=1)
