"""Which labels are there, from the signs of the head's weight gradient."""

from typing import ClassVar

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import ImageNeed, LabelRestoration
from fedunlearn.attacks.targets import UpdateSettings


@ATTACKS.register("idlg")
class IDLG(LabelRestoration):
    """The label of a single sample from the signs of the head's weight gradient (iDLG).

    K = 1: the class with the lowest row sum, exact when the features are not negative (ReLU, sigmoid) and not all
    zero. Larger batches: all classes with a negative row sum, in equal numbers; it does not count. A positive factor
    cancels, so a FedAvg client's steps need not be known. Source: Zhao, Mopuri, Bilen, iDLG, arXiv 2001.02610.
    """

    Settings = UpdateSettings
    images: ClassVar[ImageNeed] = "none"
    scale_free: ClassVar[bool] = True

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return 1 for each class that is held to be there."""
        row_sums = seen.weight.sum(axis=1)
        if seen.total == 1:
            return np.eye(len(row_sums))[row_sums.argmin()]
        return (row_sums < 0).astype(np.float64)
