"""How far claimed pictures give away each private sample of a class: near it, and telling it from the others.

THIS IS NOT DDCS. The exact formula of the diversity and distance composite score (Li et al., A Sample-Level Evaluation
and Generative Framework for Model Inversion Attacks, AAAI 2025, arXiv 2502.19070) is not public. This surrogate is
our own: it has the two ingredients that the abstract names, the distance of a training sample to the nearest claimed
picture and the variety of the pictures. Its figures must not be compared with published ones.

Formula, within one class: with j(i) the claimed picture that is nearest to sample i,

    s_i = exp(-d(x_i, r_j(i)) / tau_i) / n_i

where tau_i is the distance of sample i to its k-th nearest neighbour, and n_i counts the samples i', itself included,
that the claimed pictures do not tell from i: d(r_j(i), r_j(i')) <= gamma d(x_i, x_i'), where that is above 0.

Limits: (i) Not monotone: a picture that takes over two samples can lower the score. (ii) It grows with the number of
pictures, so sets of equal size must be compared. (iii) Fresh samples of the class, which give nobody away, already
score .15 to .25: print their score beside it, and read the excess.
"""

import numpy as np
from scipy.spatial.distance import cdist

from fedunlearn.errors import DataError
from fedunlearn.judging.inversion.prdc import K, kth_distances
from fedunlearn.judging.metric import METRICS, NAN

GAMMA = 0.5  # claimed pictures nearer to each other than this share of the samples' distance count as one
GIVEN_AWAY = float(np.exp(-1))  # a picture as near as the k-th neighbour, and for this sample alone
LEAST = 1e-9  # share of the largest distance: the least neighbourhood, for samples that occur several times


@METRICS.register("ddcs-surrogate")
def ddcs_surrogate(true: np.ndarray, claimed: np.ndarray, k: int = K, gamma: float = GAMMA) -> np.ndarray:
    """How far each private sample is given away, 0 to 1; a surrogate of ours, not the published DDCS.

    Args:
        true: (n, d), of one class.
        claimed: (m, d), claimed of that class.
        k: neighbours that make a neighbourhood.
        gamma: in [0, 1), see above.

    Returns:
        (n,), whose mean it is; NaN where nothing is claimed.

    Raises:
        DataError: for fewer than k + 1 samples.
    """
    if len(true) < k + 1:
        raise DataError(f"ddcs-surrogate with k = {k} needs at least {k + 1} samples of a class; there are {len(true)}")
    if not len(claimed):
        return np.full(len(true), NAN)
    between, apart = cdist(true, claimed), cdist(true, true)
    chosen, distances = between.argmin(axis=1), between.min(axis=1)
    least = max(LEAST * apart.max(), float(np.finfo(float).tiny))
    radii = np.maximum(kth_distances(true, k), least)
    pictures = cdist(claimed, claimed)[np.ix_(chosen, chosen)]
    confused = 1 + ((pictures <= gamma * apart) & (apart > 0)).sum(axis=1)
    with np.errstate(over="ignore"):  # a distance over next to nothing is infinite: the score is then 0
        return np.asarray(np.exp(-distances / radii) / confused)


@METRICS.register("vulnerable-share")
def vulnerable_share(scores: np.ndarray) -> np.ndarray:
    """Share of private samples whose ddcs-surrogate is above 1/e.

    Returns:
        (n,), whose mean it is.
    """
    return np.where(np.isnan(scores), NAN, scores > GIVEN_AWAY)


def gini(scores: np.ndarray) -> float:
    """Return the Gini coefficient of scores (n,): 0 when all are equal, towards 1 when few have it all.

    Example:
        >>> gini(np.array([1.0, 1.0])), gini(np.array([0.0, 0.0, 0.0, 1.0]))
        (0.0, 0.75)
    """
    ordered, places = np.sort(scores), np.arange(1, len(scores) + 1)
    return float(2 * (places * ordered).sum() / (len(scores) * ordered.sum()) - (len(scores) + 1) / len(scores))
