"""Confusion matrices in log odds: how firmly samples of each class are taken for each class."""

import numpy as np

SMALLEST = np.finfo(np.float32).tiny
FARTHEST = 16.0  # log odds beyond which single precision does not tell a probability from 1


def confusion(answers: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the mean answer (num_classes, num_classes) to samples of each class, its rows summing to 1.

    Args:
        answers: probabilities (n, num_classes), or labels (n,), of which every class counts half a one more.
        labels: (n,), the samples' own; every class occurs.
        num_classes: how many classes there are.
    """
    if answers.ndim == 2:
        return np.stack([answers[labels == label].mean(axis=0, dtype=np.float64) for label in range(num_classes)])
    pairs = np.bincount(labels * num_classes + answers, minlength=num_classes**2).reshape(num_classes, -1) + 0.5
    return np.asarray(pairs / pairs.sum(axis=1, keepdims=True))


def log_odds(answers: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return o_jc, the mean over samples of class j of the log odds of class c; of labels, the rates' log odds.

    Args:
        answers, labels, num_classes: as of `confusion`.
    """
    if answers.ndim == 2:
        odds = odds_of(answers)
        return np.stack([odds[labels == label].mean(axis=0) for label in range(num_classes)])
    return odds_of(confusion(answers, labels, num_classes))


def odds_of(probabilities: np.ndarray) -> np.ndarray:
    """Return ln p_c - ln(sum of the others' p), float64, of probabilities (..., K).

    Log odds are cut off at -16 and 16: beyond, a few sure answers would outweigh all others.
    """
    p = np.maximum(probabilities.astype(np.float64), 0)
    others = np.where(np.eye(p.shape[-1], dtype=bool), 0, p[..., None, :]).sum(axis=-1)
    odds = np.log(np.maximum(p, SMALLEST)) - np.log(np.maximum(others, SMALLEST))
    return np.clip(odds, -FARTHEST, FARTHEST)


def own_odds(odds: np.ndarray) -> np.ndarray:
    """Return o_cc, (K,)."""
    return np.diagonal(odds).copy()


def leaning(odds: np.ndarray) -> np.ndarray:
    """Return o_cc plus the mean of o_jc over the classes j other than c, (K,)."""
    others = (odds.sum(axis=0) - np.diagonal(odds)) / (len(odds) - 1)
    return own_odds(odds) + others
