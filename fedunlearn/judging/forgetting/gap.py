"""The average gap: how far four figures of a model are from those of models that were retrained.

The figures are unlearning accuracy (1 - accuracy on forgotten samples), retained accuracy, test accuracy and
MIA-efficacy. One retrained model is one draw; so the comparison is with the mean of several, and the gap between
one retrained model and the mean of the others is the floor below which no difference means anything.
"""

from collections.abc import Sequence

import numpy as np

from fedunlearn.judging.metric import NAN, mean_or_nan


def average_gap(own: np.ndarray, retrained: Sequence[np.ndarray]) -> float:
    """Return the mean absolute difference to the retrained models' mean; NaN if a figure or the models are missing.

    Args:
        own: the figures of the model, (k,).
        retrained: the figures of each retrained model, (k,) each.
    """
    return float(np.abs(own - np.mean(retrained, axis=0)).mean()) if len(retrained) else NAN


def noise_floor(retrained: Sequence[np.ndarray]) -> float:
    """Return the mean gap of each retrained model against the mean of the others; NaN for fewer than two."""
    others = [[*retrained[:place], *retrained[place + 1 :]] for place in range(len(retrained))]
    return mean_or_nan([average_gap(own, rest) for own, rest in zip(retrained, others, strict=True)])
