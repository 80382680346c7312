"""The threshold that tells forgotten from retained classes best on shadows."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_curve

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
    selected,
)


@DECISIONS.register("youden")
class Youden(Decision):
    """Classes above the score that has the highest Youden index on shadows: TPR(t) - FPR(t). Fitted on shadows.

    Of several such thresholds the highest; it lies halfway between the scores on either side. Where the index is 0
    the shadows tell nothing and no class is named. Deviation from fitting on shadows with requests alone: shadow
    controls count as well, all their classes as retained, or the threshold would know no model without a request.

    Source: Youden, Index for rating diagnostic tests (Cancer 3, 1950).
    """

    fits = True
    shadows = "both"

    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return the classes above the threshold."""
        threshold, index = best_threshold(shadows)
        notes = {"threshold": threshold, "youden-index": index}
        return Decided(selected(evidence.scores > threshold) if index > 0 else (), notes)


def best_threshold(shadows: Sequence[Measured]) -> tuple[float, float]:
    """Return the threshold with the highest Youden index over the scores of shadows' classes, and that index.

    Raises:
        ValueError: when no shadow forgot a class, or every class was forgotten by all.
    """
    scores = np.concatenate([evidence.scores for evidence, _ in shadows])
    truth = np.concatenate([forgotten_mask(shadow) for shadow in shadows])
    if truth.all() or not truth.any():
        raise ValueError("a threshold is fitted on shadows with forgotten and retained classes")
    false, true, thresholds = roc_curve(truth, scores, drop_intermediate=False)
    best = int(np.argmax(true - false))
    below = scores[scores < thresholds[best]]
    if not len(below) or not np.isfinite(thresholds[best]):
        return float(thresholds[best]), float(true[best] - false[best])
    return float((thresholds[best] + below.max()) / 2), float(true[best] - false[best])


def forgotten_mask(shadow: Measured) -> np.ndarray:
    """Return which classes a shadow forgot, bool (num_classes,)."""
    evidence, forgotten = shadow
    return np.isin(np.arange(len(evidence.scores)), forgotten)
