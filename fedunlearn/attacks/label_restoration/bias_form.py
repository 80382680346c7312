"""Label counts from the gradient of the head's bias."""

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import LabelRestoration


@ATTACKS.register("bias-form")
class BiasForm(LabelRestoration):
    """Label counts from the bias gradient: K times (mean predicted probability minus gradient), exact given the former.

    Formula: count_k = K * (mean_i p_ik - dL/db_k), an identity of softmax cross-entropy for any activation, trained
    or not. The mean probability is estimated on dummies or public images; for FedAvg it is interpolated over the
    local steps. Source: the derivation of Geng et al. (arXiv 2110.09074) applied to the bias; interpolation after
    Dimitrov et al. (TMLR 2022). Deviation: the counts are scaled to their known total before rounding.
    """

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return K * (p - g) with p averaged over the local steps."""
        return seen.total * (seen.mean(lambda outputs: outputs.mean_probabilities) - seen.bias)
