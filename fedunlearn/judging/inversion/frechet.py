"""The Frechet distance between two sets of features, each taken as a normal distribution.

Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (arXiv
1706.08500), there with the features of Inception. The metric is named after the net whose features are compared:
distances in the features of different nets are different measures.
"""

import numpy as np
from scipy.linalg import eigh

from fedunlearn.errors import DataError
from fedunlearn.judging.inversion.evaluator import NET
from fedunlearn.judging.metric import METRICS

NAME = f"frechet-{NET}"
PER_FEATURE = 2  # samples, at the least; with fewer a covariance is mostly noise


@METRICS.register(NAME)
def frechet_distance(true: np.ndarray, claimed: np.ndarray) -> float:
    """Frechet distance between private samples and claimed pictures in the features of the judge's classifier.

    ||mean_1 - mean_2||^2 + trace(S_1 + S_2 - 2 (S_1 S_2)^(1/2)), with the unbiased covariances S.

    Args:
        true: (n, d).
        claimed: (m, d).

    Raises:
        DataError: for fewer than 2 d samples on a side.
    """
    features, fewest = true.shape[1], min(len(true), len(claimed))
    if fewest < PER_FEATURE * features:
        counts = f"there are {len(true)} true and {len(claimed)} claimed"
        raise DataError(f"{NAME} with {features} features needs at least {PER_FEATURE * features} samples; {counts}")
    apart = float(np.square(true.mean(axis=0) - claimed.mean(axis=0)).sum())
    one, other = (np.cov(side, rowvar=False).reshape(features, features) for side in (true, claimed))
    values, vectors = eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(eigh(root @ other @ root, eigvals_only=True), 0)).sum()
    return apart + float(np.trace(one) + np.trace(other) - 2 * shared)
