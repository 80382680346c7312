"""Two claims about the same signs made one by log-odds."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from fedunlearn.attacks.revival.completion import Rule, complete

LARGE, HIDDEN_LARGE = 0.2, 0.25  # share of a row's weights that count as large, and of those that is hidden
STEEPEST = 4.0  # log-odds per unit of evidence that are believed at most


def completion_odds(matrix: np.ndarray, missing: np.ndarray, rule: Rule, rng: np.random.Generator) -> np.ndarray:
    """Return the log-odds that each missing weight is positive, by completion.

    log(p / (1 - p)) = slope * recovered value; the slope is fitted to observed entries that are hidden on purpose.
    """
    hidden = large(matrix, missing) & (rng.random(missing.shape) < HIDDEN_LARGE)
    tried = complete(matrix, missing | hidden, rule, rng).matrix[hidden]
    found = np.where(missing, complete(matrix, missing, rule, rng).matrix, 0.0)
    size = max(float(np.sqrt(np.mean(tried**2))), np.finfo(float).tiny)
    return found * slope(tried / size, (matrix[hidden] > 0).astype(np.float64)) / size


def large(matrix: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return a mask of each row's largest observed weights: pruning removes such, and they are easier to complete."""
    sizes = np.where(missing, 0.0, np.abs(matrix))
    return np.asarray((sizes > np.quantile(sizes, 1 - LARGE, axis=1, keepdims=True)) & ~missing)


def slope(evidence: np.ndarray, positive: np.ndarray) -> float:
    """Return the slope of the logistic regression, without intercept, of a sign on evidence for it.

    Args:
        evidence: (n,), of unit root mean square.
        positive: (n,), the probability that the sign is positive: 0 or 1 where it is known.
    """

    def loss(value: float) -> float:
        p = expit(value * evidence).clip(1e-12, 1 - 1e-12)
        return float(-np.mean(positive * np.log(p) + (1 - positive) * np.log1p(-p)))

    return float(minimize_scalar(loss, bounds=(0.0, STEEPEST), method="bounded").x)


def noisy_slope(evidence: np.ndarray, odds: np.ndarray) -> float:
    """Return the slope of evidence whose truth is known only through another claim's log-odds.

    What is found is at most the odds' root mean square: two claims that are right about the same weights agree more
    often than independent ones, and so would make this one look surer than it is.

    With e = the other claim's chance to be wrong about a weight, its sign is positive with probability
    (1 - e) p + e (1 - p), p = expit(slope * evidence): as if both erred independently given the truth.

    Args:
        evidence: (n,), of unit root mean square.
        odds: (n,), the other claim's log-odds that the sign is positive.
    """
    said, wrong = odds > 0, expit(-np.abs(odds))

    def loss(value: float) -> float:
        p = expit(value * evidence)
        seen = (1 - wrong) * p + wrong * (1 - p)
        return float(-np.mean(np.log(np.where(said, seen, 1 - seen).clip(1e-12))))

    most = float(np.sqrt(np.mean(odds**2)))
    return float(minimize_scalar(loss, bounds=(0.0, most), method="bounded").x) if most else 0.0
