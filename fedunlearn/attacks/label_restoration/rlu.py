"""Label counts from the bias gradient and the confidence that a model gives to wrong classes."""

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.attacks.label_restoration.restoring import LabelledRestoration


@ATTACKS.register("rlu")
class RLU(LabelledRestoration):
    """Label counts from the bias gradient and the confidence in wrong classes (RLU).

    Formula: count_k proportional to max(0, q_k - dL/db_k), q_k the erroneous confidence of class k: the mean over
    the other classes of the probability that their public images are given for k. Source: Chan, Zheng, Dai and
    others, Recovering Labels from Local Updates in Federated Learning, ICML 2024 (arXiv 2405.00955). Deviations: over
    several local steps q is interpolated between the broadcast and the returned model, which are both known, where
    the paper simulates the drift of the logits; q is the mean of softmaxes as in the paper's text, not the softmax
    of mean logits as in its code.
    """

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return q - g, to be scaled to K."""
        return seen.mean(erroneous_confidence) - seen.bias


def erroneous_confidence(outputs: Outputs) -> np.ndarray:
    """Return (C,) the mean over the other classes of the probability that their images are given for a class."""
    predicted = outputs.class_probabilities
    return (predicted.sum(axis=0) - np.diag(predicted)) / (len(predicted) - 1)
