"""Labels taken one by one from row sums, with an impact and an offset measured on public images."""

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.llg import take_labels
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import LabelledRestoration


@ATTACKS.register("llg-plus")
class LLGPlus(LabelledRestoration):
    """Labels one by one from row sums, their impact measured on labelled public images (LLG+).

    With S_k(j) the row sum k of class j's mean gradient: the impact is (1 + 1/C) / (C K) * sum_k S_k(k), and the
    mean of S_k(j) over the other classes j is taken off row sum k first. Source: Wainakh et al., User-Level Label
    Leakage from Gradients in Federated Learning, PETS 2022 (code tklab-tud/LLG). Deviations: class means over all
    public images in place of ten single-class batches of K; the first phase stops at K labels.
    """

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return the counts of K labels."""
        by_class = seen.mean(lambda outputs: outputs.class_gradients.sum(axis=2))  # (class, row)
        num_classes, own = len(by_class), np.diag(by_class)
        offset = (by_class.sum(axis=0) - own) / (num_classes - 1)
        impact = own.mean() * (1 + 1 / num_classes) / seen.total
        return take_labels(seen.weight.sum(axis=1) - offset, float(impact), seen.total)
