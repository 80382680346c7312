"""Label counts from the gradient of the head's weights."""

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.restoring import HeadStatistics, LabelRestoration
from fedunlearn.federation import Weights


@ATTACKS.register("weight-form")
class WeightForm(LabelRestoration):
    """Label counts from row sums of the head's weight gradient; the only choice for a head without bias.

    Formula: count_k = K * (mean_i p_ik - S_k / O), S_k the sum of row k of dL/dW and O the mean feature sum of a
    sample, both means estimated on dummies or public images. It assumes that a sample's feature sum does not depend
    on its class; O must be clearly non-zero (good with ReLU and sigmoid features, poor with tanh). Source: Geng et
    al., Towards General Deep Leakage in Federated Learning, arXiv 2110.09074; for FedAvg both are interpolated over
    the local steps as by Dimitrov et al. (TMLR 2022). Deviations: the counts are scaled to their known total before
    rounding; momentum weighs the steps.
    """

    def estimate(self, gradient: Weights, statistics: HeadStatistics, total: int) -> np.ndarray:
        """Return K * (p - S / O), averaged over the local steps."""
        row_sums = gradient["head.weight"].sum(axis=1)
        inverse_sum = statistics.shares @ (1 / statistics.feature_sums)
        return total * (statistics.shares @ statistics.probabilities - row_sums * inverse_sum)
