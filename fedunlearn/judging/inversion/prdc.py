"""Precision, recall, density and coverage of claimed samples among the true ones, with what each sample adds.

Sources: Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models (arXiv 1904.06991);
Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models (arXiv 2002.09797).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from fedunlearn.errors import DataError
from fedunlearn.judging.metric import METRICS

K = 3  # neighbours


@dataclass(frozen=True)
class Neighbourhoods:
    """How claimed samples lie among the true ones.

    Attributes:
        k: how many neighbours make a neighbourhood.
        between: (n, m) distances of true and claimed samples.
        around_true: (n,) distances of true samples to their k-th nearest among the other true ones.
        around_claimed: (m,) the same of the claimed ones.
    """

    k: int
    between: np.ndarray
    around_true: np.ndarray
    around_claimed: np.ndarray


def neighbourhoods(true: np.ndarray, claimed: np.ndarray, k: int = K) -> Neighbourhoods:
    """Return the neighbourhoods of features (n, d) and (m, d).

    Raises:
        DataError: for fewer than k + 1 samples on a side.
    """
    if min(len(true), len(claimed)) < k + 1:
        counts = f"there are {len(true)} true and {len(claimed)} claimed"
        raise DataError(f"neighbourhoods of k = {k} need at least {k + 1} samples on both sides; {counts}")
    return Neighbourhoods(k, cdist(true, claimed), kth_distances(true, k), kth_distances(claimed, k))


def kth_distances(features: np.ndarray, k: int) -> np.ndarray:
    """Return the distances (n,) of features (n, d), n > k, to their k-th nearest other ones."""
    return np.asarray(np.partition(cdist(features, features), k, axis=1)[:, k])  # place 0 is the sample itself


@METRICS.register("precision")
def precision(found: Neighbourhoods) -> np.ndarray:
    """Share of claimed pictures that lie in the neighbourhood of some private sample.

    Returns:
        (m,), whose mean it is.
    """
    return (found.between < found.around_true[:, None]).any(axis=0).astype(float)


@METRICS.register("recall")
def recall(found: Neighbourhoods) -> np.ndarray:
    """Share of private samples that lie in the neighbourhood of some claimed picture.

    Returns:
        (n,), whose mean it is.
    """
    return (found.between < found.around_claimed[None]).any(axis=1).astype(float)


@METRICS.register("density")
def density(found: Neighbourhoods) -> np.ndarray:
    """In how many neighbourhoods of private samples a claimed picture lies, in units of k; may exceed 1.

    Returns:
        (m,), whose mean it is.
    """
    return (found.between < found.around_true[:, None]).sum(axis=0) / found.k


@METRICS.register("coverage")
def coverage(found: Neighbourhoods) -> np.ndarray:
    """Share of private samples with a claimed picture in their neighbourhood.

    Returns:
        (n,), whose mean it is.
    """
    return (found.between.min(axis=1) < found.around_true).astype(float)
