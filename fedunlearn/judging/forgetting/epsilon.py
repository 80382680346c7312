"""The forgetting score of the NeurIPS 2023 unlearning competition: how well an attacker tells models apart.

Source: Triantafillou, Kairouz, Pedregosa and others, "Are We Making Progress in Unlearning?" (arXiv 2406.09073,
section 3). For each forgotten sample, tests on the margin guess whether a model was unlearned or retrained: by one
threshold, or by a band in which the narrower of the two distributions is expected. The best test's error rates give
an epsilon as in differential privacy, small ones a score near 1. The best of many tests finds differences between
models that were all retrained, too: compare with the score of those.

Deviations: thresholds lie between the values that occur instead of on a grid; either side of one threshold may be the
unlearned one, where the competition chose by the medians; each end of a band lies within 2 of the narrower
distribution's end, where the competition allowed 2 for the right end and 4 for the left one.
"""

import math

import numpy as np

from fedunlearn.judging.metric import NAN, mean_or_nan

DELTA = 1e-5
LARGEST = 50.0  # a test without errors
BUCKET = 0.5  # width in epsilon over which the score halves
REACH = 2.0  # how far a band may end from where the narrower distribution ends, in units of the margin


def epsilons(false_positives: np.ndarray, false_negatives: np.ndarray) -> np.ndarray:
    """Return the epsilon that each pair of error rates proves, 0 where it proves none.

    A test without errors proves the cap of 50. One that makes only one kind of error is no test: it would prove
    infinity from few models.

    Args:
        false_positives: shares of retrained models that are called unlearned, any shape.
        false_negatives: shares of unlearned models that are called retrained, the same shape.

    Example:
        >>> epsilons(np.array([0.1, 0.05]), np.array([0.1, 0.2])).round(3).tolist()
        [2.197, 2.773]
    """
    first, second = np.asarray(false_positives, float), np.asarray(false_negatives, float)
    usable = (first > 0) & (second > 0)
    proven = np.zeros(first.shape)
    for one, other in ((first, second), (second, first)):
        valid = usable & (1 - DELTA - one > 0)
        proven[valid] = np.maximum(proven[valid], np.log(1 - DELTA - one[valid]) - np.log(other[valid]))
    return np.where((first == 0) & (second == 0), LARGEST, np.minimum(proven, LARGEST))


def best_epsilons(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Return for each sample the largest epsilon of any test by one threshold or by a band, (n,).

    Args:
        unlearned: margins (models, n).
        retrained: margins (models', n).
    """
    return np.array([_best(own, other) for own, other in zip(unlearned.T, retrained.T, strict=True)])


def _best(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """Cut below every value, and above all of them; the cuts stand for all thresholds between neighbouring values."""
    values = np.array([-np.inf, *np.unique(np.concatenate([unlearned, retrained])), np.inf])
    own, other = (np.searchsorted(np.sort(kind), values[1:]) / len(kind) for kind in (unlearned, retrained))
    single = np.concatenate([epsilons(other, 1 - own), epsilons(1 - other, own)])
    narrow = unlearned if np.ptp(unlearned) <= np.ptp(retrained) else retrained
    reaches = [(values[:-1] < end + REACH) & (values[1:] >= end - REACH) for end in (narrow.min(), narrow.max())]
    first, last = (pair.ravel() for pair in np.meshgrid(*map(np.flatnonzero, reaches)))
    first, last = first[first < last], last[first < last]
    own, other = (own, other) if narrow is unlearned else (other, own)
    band = epsilons(other[last] - other[first], 1 - (own[last] - own[first]))
    return float(max(single.max(), band.max(initial=0)))


def sample_scores(found: np.ndarray, models: int) -> np.ndarray:
    """Return each sample's score for its epsilon: 1 below 0.5, then halving every 0.5, 0 from ceil(ln(models - 1)).

    Args:
        found: epsilons (n,).
        models: how many unlearned models there are, and as many retrained ones; below three every score is NaN.
    """
    if models < 3:
        return np.full(found.shape, NAN)
    return np.where(found < math.ceil(math.log(models - 1)), 2.0 ** -np.floor(found / BUCKET), 0.0)


def forgetting_quality(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """Return the mean score over the forgotten samples, in [0, 1]; NaN without samples or below three models.

    Args:
        unlearned: margins (models, n).
        retrained: margins (models, n).
    """
    return mean_or_nan(sample_scores(best_epsilons(unlearned, retrained), min(len(unlearned), len(retrained))))


def competition_score(quality: float, retained: tuple[float, float], test: tuple[float, float]) -> float:
    """Return forgetting quality times what is left of the model's use; NaN where a retrained accuracy is 0.

    Args:
        quality: from `forgetting_quality`.
        retained: accuracy on retained samples of the (unlearned, retrained) models.
        test: accuracy on test samples of the (unlearned, retrained) models.
    """
    kept = [own / other if other else NAN for own, other in (retained, test)]
    return quality * kept[0] * kept[1]
