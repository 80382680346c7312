"""How differently two models answer on the same samples."""

import numpy as np

from fedunlearn.judging.metric import NAN, mean_or_nan


def activation_distance(own: np.ndarray, retrained: np.ndarray) -> float:
    """Return the mean Euclidean distance between the softmax outputs, in [0, sqrt 2]; NaN without samples.

    Source: Golatkar, Achille, Ravichandran, Polito and Soatto, "Mixed-Privacy Forgetting in Deep Networks",
    CVPR 2021 (arXiv 2012.13431).

    Args:
        own, retrained: probabilities (n, num_classes).
    """
    return mean_or_nan(np.linalg.norm(own - retrained, axis=1))


def completeness(own: np.ndarray, retrained: np.ndarray) -> float:
    """Return the share of samples (n, num_classes) of which both models predict the same class; NaN without samples.

    Source: Cao and Yang, "Towards Making Systems Forget with Machine Unlearning", IEEE S&P 2015.
    """
    return mean_or_nan(own.argmax(axis=1) == retrained.argmax(axis=1))


def fingerprint(probabilities: np.ndarray) -> np.ndarray:
    """Return the share of samples (n, num_classes) predicted as each class, (num_classes,); NaN without samples.

    On the forgotten samples of one class it is that class's row of the confusion matrix: where they go is as telling
    as that they go.
    """
    samples, classes = probabilities.shape
    counts = np.bincount(probabilities.argmax(axis=1), minlength=classes)
    return counts / samples if samples else np.full(classes, NAN)


def fingerprint_distance(own: np.ndarray, retrained: np.ndarray) -> float:
    """Return the total variation distance between two models' fingerprints, in [0, 1]; NaN without samples."""
    return float(np.abs(fingerprint(own) - fingerprint(retrained)).sum() / 2)
