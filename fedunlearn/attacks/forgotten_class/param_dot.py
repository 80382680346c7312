"""The forgotten class from dot products of the head's rows with those of auxiliary models."""

from __future__ import annotations

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.forgotten_class.auxiliary import Auxiliary
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence
from fedunlearn.attacks.forgotten_class.heads import DIGITS, Head, cosines
from fedunlearn.attacks.forgotten_class.parameters import ParameterAttack

LEAST = 0.1  # of the mean size of A_r's answers: what is divided by is no smaller
TINY = float(np.finfo(np.float64).tiny)


@ATTACKS.register("param-dot")
class ParamDot(ParameterAttack):
    """Classes whose row answers its own class less than the same row of an auxiliary model does.

    Knowledge: the final weights (the weights before as well where `lineage` says so) and labelled public images.
    A_r, an auxiliary model that knows all classes: see the setting `lineage`. The attacker does not know which data
    are retained, so A_r is of all classes. Rows and biases are taken from their mean over classes, which a softmax does
    not notice.

    Formula: with m_c the mean features of class c's public images on A_r's backbone, r_c = (w_c.m_c + b_c) / (the same
    of A_r), s_c = (median r - r_c) / (median of |r - median r|): in units of what retained classes differ by. Answers
    of A_r below a tenth of their mean size are taken for that. Features: s_c and the cosine of w_c with A_r's row. Form
    `paper`: s_c = -cos(w_c, A_r's row) + cos(w_c, A_n's row), features both, with A_n the same backbone under a head
    trained on noise with meaningless labels. Decision: see the settings; an outlier test by default.

    Source: Zheng, Chen, Huang, Guo, Xiao, Label Leakage Attacks in Machine Unlearning (arXiv 2604.07386). Deviations:
    its code is not public, so `paper` is our reading. The dot product of form `prototypes` is with mean features
    rather than with A_r's row, and includes the bias, where most of a forgotten class shows; cosines drop the length
    of a row and were near chance after fine-tuning. A_r's head is penalised (L2), or its scale would be arbitrary.
    """

    def compare(self, head: Head, related: Auxiliary) -> ClassEvidence:
        """Return how much less each row answers its class than A_r's."""
        usual = related.head.answers(related.prototypes)
        ratios = head.answers(related.prototypes) / np.maximum(usual, max(LEAST * np.abs(usual).mean(), TINY))
        below = (np.median(ratios) - ratios).round(DIGITS)
        scores = below / max(float(np.median(np.abs(below))), 10.0**-DIGITS)
        return ClassEvidence(scores, np.column_stack([scores, cosines(head.weight, related.head.weight)]))

    def compare_as_published(self, head: Head, related: Auxiliary, unrelated: Auxiliary) -> ClassEvidence:
        """Return how little each row points where A_r's does."""
        near, far = (cosines(head.weight, model.head.weight) for model in (related, unrelated))
        return ClassEvidence(far - near, np.column_stack([near, far]))
