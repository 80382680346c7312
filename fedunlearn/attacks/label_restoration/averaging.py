"""Label counts as an average of answers that err differently, cautious where the gradient leaves the counts open."""

import numpy as np

from fedunlearn.attacks.label_restoration.bounds import fill_up
from fedunlearn.attacks.label_restoration.margin_matched import Readings
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import scaled

MATCHED = 0.8  # of `margin-matched` among the precise answers
CAUTION = 1.5  # weight of the cautious answers per open share of the variance, up to all of it
SIGNS = 0.4  # of the signs among the cautious answers


def average(found: Readings, explained: np.ndarray, present: np.ndarray, total: int) -> np.ndarray:
    """Return the counts (C,) of `total` samples. Source: this project.

    The precise answers, `margin-matched`'s and the mix of class gradients that explains the bias gradient
    (`explained`, (C,)), are exact where the model answers all images of a class alike, and err differently elsewhere.
    A sure model gives nearly all of the gradient to the few images that it gets wrong: precise answers then count
    those many times. The cautious answers do not: equal numbers of the classes that are `present` (C,), and
    `margin-matched`'s answer for even batches. They weigh more, the more the gradient leaves open, see
    `WeightedFit.doubt`.
    """
    cautious = min(1.0, CAUTION * found.doubt)
    precise_counts = MATCHED * found.mixed + (1 - MATCHED) * scaled(explained, total)
    cautious_counts = (1 - SIGNS) * found.even + SIGNS * scaled(present, total)
    return fill_up(found.least, (1 - cautious) * precise_counts + cautious * cautious_counts, total)


def signs(seen: Observation) -> np.ndarray:
    """Return (C,) 1 for each class that a sign speaks for: a negative entry of the bias gradient, or row sum.

    The former is proof, the latter (of iDLG) is where the head's inputs are not negative.
    """
    return ((seen.bias < 0) | (seen.weight.sum(axis=1) < 0)).astype(np.float64)
