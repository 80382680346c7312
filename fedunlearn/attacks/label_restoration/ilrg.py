"""Label counts from class features that are read off the gradient itself."""

from typing import ClassVar

import numpy as np
from scipy.special import softmax

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import ImageNeed, LabelRestoration
from fedunlearn.attacks.targets import UpdateSettings
from fedunlearn.federation import Weights

LARGEST_RATIO = 1e10


@ATTACKS.register("ilrg")
class ILRG(LabelRestoration):
    """Label counts from class features read off the gradient (iLRG); needs neither dummies nor public images.

    Row j of the head's weight gradient over entry j of its bias gradient, e_j = G_j / g_j, is about the mean feature
    of class j. P_j = softmax(W e_j + b) then estimates what the model says of that class, and the counts solve
    sum_j count_j (P_j - one-hot_j) = K g together with sum_j count_j = K, by least squares. Source: Ma et al.,
    Instance-wise Batch Label Restoration via Gradients in Federated Learning, ICLR 2023 (code BUAA-CST/iLRG).
    Deviations: negative counts become zero and the rest is scaled to K before rounding, where the published code
    drops counts above K and spreads what is missing over almost every class; for FedAvg the head is interpolated
    over the local steps.
    """

    Settings = UpdateSettings
    images: ClassVar[ImageNeed] = "none"

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return the least-squares solution."""
        ratios = np.divide(
            seen.weight, seen.bias[:, None], out=np.zeros_like(seen.weight), where=seen.bias[:, None] != 0
        )
        features = np.clip(ratios, -LARGEST_RATIO, LARGEST_RATIO)
        way = float(seen.shares @ seen.way)
        start, end = (answers(head, features) for head in seen.heads)
        predicted = (1 - way) * start + way * end
        system = np.vstack([np.ones(len(predicted)), predicted.T - np.eye(len(predicted))])
        return np.linalg.pinv(system) @ np.concatenate([[seen.total], seen.total * seen.bias])


def answers(head: Weights, features: np.ndarray) -> np.ndarray:
    """Return the probabilities (n, C) that a head gives to features (n, M)."""
    return softmax(features @ head["head.weight"].T.astype(np.float64) + head["head.bias"], axis=1)
