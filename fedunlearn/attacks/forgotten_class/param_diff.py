"""The forgotten class from the differences between the head's rows and those of auxiliary models."""

from __future__ import annotations

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.forgotten_class.auxiliary import Auxiliary
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence
from fedunlearn.attacks.forgotten_class.heads import DIGITS, Head
from fedunlearn.attacks.forgotten_class.parameters import ParameterAttack

TINY = float(np.finfo(np.float64).tiny)


@ATTACKS.register("param-diff")
class ParamDiff(ParameterAttack):
    """Classes whose row differs from an auxiliary model's row, in the direction away from the class.

    Knowledge and A_r: as of `param-dot`. Formula: with D_c = w_c - g A_r's row, d_c the difference of the biases
    likewise, g the scale that fits all rows best (least squares) and m_c the mean features of class c's public images,
    s_c = -(D_c.m_c + d_c) / (g times the mean size of A_r's own answers). Features: s_c, and of the differences the l2
    norm, mean, standard deviation and d_c, divided by the norm of g A_r's row. Form `paper`: g = 1, s_c = the l2 norm
    of D_c over that of A_r's row; features: norm, mean, deviation and bias difference against A_r and against A_n, the
    same backbone under a head trained on noise with meaningless labels. Decision: see the settings; an outlier test by
    default.

    Source: Zheng, Chen, Huang, Guo, Xiao, Label Leakage Attacks in Machine Unlearning (arXiv 2604.07386). Deviations:
    its code is not public, so `paper` is our reading. Form `prototypes` is signed: a length does not tell a row that
    was pushed away from its class from one that moved otherwise. The scale g is fitted, as A_r is trained on fewer
    images and with an L2 penalty.
    """

    def compare(self, head: Head, related: Auxiliary) -> ClassEvidence:
        """Return how far each row was moved away from its class."""
        usual = related.head
        scale = float((head.weight * usual.weight).sum()) / max(float((usual.weight**2).sum()), TINY)
        moved = Head(head.weight - scale * usual.weight, head.bias - scale * usual.bias, head.has_bias)
        size = max(abs(scale) * float(np.abs(usual.answers(related.prototypes)).mean()), TINY)
        scores = (-moved.answers(related.prototypes) / size).round(DIGITS)
        return ClassEvidence(scores, np.column_stack([scores, described(moved, scale * usual.weight)]))

    def compare_as_published(self, head: Head, related: Auxiliary, unrelated: Auxiliary) -> ClassEvidence:
        """Return how long each row's difference is."""
        features = [
            described(Head(head.weight - other.weight, head.bias - other.bias, head.has_bias), related.head.weight)
            for other in (related.head, unrelated.head)
        ]
        return ClassEvidence(features[0][:, 0], np.column_stack(features))


def described(moved: Head, rows: np.ndarray) -> np.ndarray:
    """Return l2 norm, mean and deviation of each row, and its bias where there is one: (num_classes, 4 or 3).

    Args:
        moved: differences.
        rows: (num_classes, d), by whose norms everything is divided.
    """
    columns = [np.linalg.norm(moved.weight, axis=1), moved.weight.mean(axis=1), moved.weight.std(axis=1)]
    columns += [moved.bias] if moved.has_bias else []
    lengths = np.maximum(np.linalg.norm(rows, axis=1), TINY)
    return (np.column_stack(columns) / lengths[:, None]).round(DIGITS)
