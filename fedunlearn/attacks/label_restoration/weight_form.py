"""Label counts from the gradient of the head's weights."""

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import LabelRestoration


@ATTACKS.register("weight-form")
class WeightForm(LabelRestoration):
    """Label counts from row sums of the head's weight gradient; for a head without bias.

    Formula: count_k = K * (mean_i p_ik - S_k / O), S_k the sum of row k of dL/dW and O the mean feature sum of a
    sample, both means estimated on dummies or public images. It assumes that a sample's feature sum does not depend
    on its class; O must be clearly non-zero (good with ReLU and sigmoid features, poor with tanh). Source: Geng et
    al., Towards General Deep Leakage in Federated Learning, arXiv 2110.09074; for FedAvg both are interpolated over
    the local steps as by Dimitrov et al. (TMLR 2022). Deviations: the counts are scaled to their known total before
    rounding; momentum weighs the steps.
    """

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return K * (p - S / O), averaged over the local steps."""
        inverse_sum = seen.shares @ (1 / seen.feature_sums())
        probabilities = seen.mean(lambda outputs: outputs.mean_probabilities)
        return seen.total * (probabilities - seen.weight.sum(axis=1) * inverse_sum)
