"""Label counts on trained models as an average of answers that err differently."""

import numpy as np
from scipy.special import expit

from fedunlearn.attacks.label_restoration.bounds import fill_up
from fedunlearn.attacks.label_restoration.margin_matched import FEW, Readings
from fedunlearn.attacks.label_restoration.restoring import scaled

LEARNT = (0.5, 1.0)  # what a model has learnt where the average starts to count, and where it is all that counts
OTHERS = 0.1  # weight of each other answer among those for skewed batches
UNSURE = 0.1  # and more per unit of margin
MARGIN = 2.0  # up to this margin
CLASSES = 20.0  # log odds of an even batch for each further share of the classes in the mix
IMAGES = 50  # public images per class for which the odds need no correction
SURE = 1.0  # margin above which a small gradient says less about evenness


def trust(learnt: float) -> float:
    """Return the weight of the average against `margin-matched` alone, which is exact on untrained models."""
    return float(np.clip((learnt - LEARNT[0]) / (LEARNT[1] - LEARNT[0]), 0, 1))


def average(found: Readings, explained: np.ndarray, total: int) -> np.ndarray:
    """Return the counts (C,) of `total` samples behind a trained model's gradient. Source: this project.

    `explained` (C,) is the non-negative mix of class gradients nearest to the head's weight gradient.

    If the batch is skewed: `margin-matched`'s answer for skewed ones, `explained`, and what is certain, each scaled to
    the total. The last two rest on the gradient's direction more than on its size, so they suffer less where the model
    knows the batch by heart, and weigh more, the higher the margin. If it is even: `margin-matched`'s answer for even
    ones. Both are mixed by the probability of either, see `evenness`.
    """
    other = OTHERS + UNSURE * min(found.margin, MARGIN)
    skewed = (1 - 2 * other) * found.skewed + other * (scaled(explained, total) + scaled(found.least, total))
    share = evenness(found, explained, total)
    return fill_up(found.least, share * found.even + (1 - share) * skewed, total)


def evenness(found: Readings, explained: np.ndarray, total: int) -> float:
    """Return the probability that a batch prefers no class; 0 for few samples, where there is nothing to gain.

    The log odds are those of the scores without margin: of all margins these tell both kinds apart best, though not
    around 0. What is added puts them there: the effective number of classes in `explained`, whatever the gradient's
    size; less the logarithm of samples and of public images per class, since more of either show more clearly that a
    batch has no preference; less the margin above 1, since the gradient of a batch that the model knows by heart is
    small, and small gradients look even.
    """
    classes = len(explained)
    if total < FEW * classes:
        return 0.0
    effective = 1 / np.sum(scaled(explained, 1) ** 2)
    odds = found.odds + CLASSES * (effective / classes - 0.5) - np.log(total / classes * found.images / IMAGES)
    return float(expit(odds - max(found.margin - SURE, 0.0)))
