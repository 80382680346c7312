"""Labels taken one by one from row sums of the head's weight gradient."""

from typing import ClassVar

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import ImageNeed, LabelRestoration
from fedunlearn.attacks.targets import UpdateSettings


def take_labels(row_sums: np.ndarray, impact: float, total: int) -> np.ndarray:
    """Return the counts (C,) of `total` labels, each of which explains `impact` (< 0) of its class's row sum.

    First every class with a negative sum gets one label (the most negative ones, where there are more than labels),
    then again and again the class whose unexplained rest is lowest.
    """
    rest, counts = row_sums.astype(np.float64), np.zeros(len(row_sums), dtype=np.int64)
    certain = np.flatnonzero(rest < 0)
    certain = certain[np.argsort(rest[certain], kind="stable")][:total]
    counts[certain] += 1
    rest[certain] -= impact
    for _ in range(total - len(certain)):
        lowest = rest.argmin()
        counts[lowest] += 1
        rest[lowest] -= impact
    return counts


@ATTACKS.register("llg")
class LLG(LabelRestoration):
    """Labels one by one from row sums of the head's weight gradient (LLG); the gradient is all it needs.

    The impact of one label is m = (1 + 1/C) / K * (sum of the negative row sums); see `take_labels`. Any positive
    factor of the gradient cancels, so a FedAvg client's steps and learning rate need not be known. Source: Wainakh
    et al., User-Level Label Leakage from Gradients in Federated Learning, PETS 2022 (code tklab-tud/LLG). Deviation:
    the first phase stops at K labels.
    """

    Settings = UpdateSettings
    images: ClassVar[ImageNeed] = "none"
    scale_free: ClassVar[bool] = True

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return the counts of K labels."""
        row_sums = seen.weight.sum(axis=1)
        impact = np.minimum(row_sums, 0).sum() * (1 + 1 / len(row_sums)) / seen.total
        return take_labels(row_sums, float(impact), seen.total)
