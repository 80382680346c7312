"""U-LiRA: can an attacker with shadow models tell, sample by sample, an unlearned model from a retrained one?

Source: Hayes, Shumailov, Triantafillou, Khalifa and Papernot, "Inexact Unlearning Needs More Careful Evaluations to
Avoid a False Sense of Privacy", SaTML 2025 (arXiv 2403.01218, section 4). For each sample, the margins of unlearned
and of retrained shadow models are taken as Gaussian; the score is the log of the likelihood ratio.

Deviation: with few shadow models a sample's own variance is mostly noise; pooled, its kind shares one over samples
(Carlini and others, "Membership Inference Attacks From First Principles", IEEE S&P 2022, section VI-B).
"""

import numpy as np
from scipy.stats import norm

from fedunlearn.judging.membership import auc, tpr_at_1_fpr
from fedunlearn.judging.metric import NAN

_LEAST = 1e-6  # variance of margins that hardly differ: below the rounding of float32 logits


def log_ratios(target: np.ndarray, unlearned: np.ndarray, retrained: np.ndarray, *, pooled: bool) -> np.ndarray:
    """Return log p(margin | unlearned) - log p(margin | retrained) for each sample, (n,).

    Args:
        target: margins of the model in question, (n,).
        unlearned: margins of the unlearned shadow models, (models, n), at least two.
        retrained: margins of the retrained ones, (models', n).
        pooled: whether all samples share a variance per kind.
    """
    own, other = (_log_density(target, shadows, pooled) for shadows in (unlearned, retrained))
    return own - other


def _log_density(target: np.ndarray, shadows: np.ndarray, pooled: bool) -> np.ndarray:
    variance = shadows.var(axis=0, ddof=1)
    if pooled:
        variance = np.full_like(variance, variance.mean())
    return np.asarray(norm.logpdf(target, shadows.mean(axis=0), np.sqrt(np.maximum(variance, _LEAST))))


def u_lira(unlearned: np.ndarray, retrained: np.ndarray, *, pooled: bool) -> tuple[float, float]:
    """Return (AUC, true positive rate at 1 % false positives) of telling the models apart; AUC .5 is ideal.

    Every pair of models is the target once and the others are its shadows. Pairs share the randomness of training, so
    both are left out together. NaN for fewer than three pairs, or without samples.

    Args:
        unlearned: margins (models, n).
        retrained: margins (models, n); row i was trained like row i of `unlearned`.
        pooled: whether all samples share a variance per kind.

    Raises:
        ValueError: when the numbers of models differ.
    """
    if unlearned.shape != retrained.shape:
        raise ValueError(f"margins of unlearned {unlearned.shape} and retrained models {retrained.shape} do not pair")
    if len(unlearned) < 3 or not unlearned.shape[1]:
        return NAN, NAN
    scores = np.array([_left_out(unlearned, retrained, place, pooled) for place in range(len(unlearned))])
    positive = np.broadcast_to([[True], [False]], scores.shape[1:])
    truth = np.broadcast_to(positive, scores.shape).ravel()
    return auc(scores.ravel(), truth), tpr_at_1_fpr(scores.ravel(), truth)


def _left_out(unlearned: np.ndarray, retrained: np.ndarray, place: int, pooled: bool) -> np.ndarray:
    """Return the scores (2, n) of one pair of models against the other pairs."""
    shadows = [np.delete(kind, place, axis=0) for kind in (unlearned, retrained)]
    return np.array([log_ratios(kind[place], *shadows, pooled=pooled) for kind in (unlearned, retrained)])
