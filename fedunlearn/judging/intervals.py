"""Intervals and corrections: Wilson for shares, percentile bootstrap for means, Holm for many tests."""

from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from fedunlearn.judging.metric import UNKNOWN, Interval

CONFIDENCE = 0.95
RESAMPLES = 2000


def wilson(successes: int, n: int) -> Interval:
    """Return the 95 % Wilson score interval of a share (Wilson 1927); unknown for n = 0.

    Example:
        >>> low, high = wilson(19, 20)
        >>> round(low, 3), round(high, 3)
        (0.764, 0.991)
    """
    if n == 0:
        return UNKNOWN
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_mean(values: Sequence[float] | np.ndarray, rng: np.random.Generator) -> Interval:
    """Return the 95 % percentile bootstrap interval of the mean; unknown below two values or with a NaN among them."""
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2 or not np.isfinite(sample).all():
        return UNKNOWN
    if np.ptp(sample) == 0:  # what resampling would find as well, only slower
        return float(sample[0]), float(sample[0])
    result = stats.bootstrap(
        (sample,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="percentile", rng=rng
    )
    interval = result.confidence_interval
    return float(interval.low), float(interval.high)


def interval_of_share(values: Sequence[float] | np.ndarray, rng: np.random.Generator) -> Interval:
    """Return the 95 % interval of the mean of shares in [0, 1]: Wilson when every value is 0 or 1, else bootstrap.

    The bootstrap of equal values has no width. Wilson has, and is conservative for shares, of which hits and misses
    spread the most.
    """
    if len(values) and all(value in (0, 1) for value in values):
        return wilson(int(sum(values)), len(values))
    return bootstrap_mean(values, rng)


def auc_interval(auc: float, members: int, others: int) -> Interval:
    """Return the 95 % interval of an area under the ROC curve (Newcombe 2006, method 5).

    It solves |theta - auc| = z * error(theta) with the error of Hanley and McNeil (1982), as Wilson's does for shares,
    so that a perfect separation of few scores still has an interval. Unknown for NaN.

    Example:
        >>> low, high = auc_interval(1.0, 5, 10)
        >>> round(low, 2), high
        (0.72, 1.0)
    """
    if np.isnan(auc):
        return UNKNOWN
    z, middle = stats.norm.ppf((1 + CONFIDENCE) / 2), (members + others) / 2 - 1

    def excess(theta: float) -> float:
        spread = theta * (1 - theta) * (1 + middle * (1 - theta) / (2 - theta) + middle * theta / (1 + theta))
        return float((theta - auc) ** 2 - z**2 * spread / (members * others))

    inside = min(max(auc, 1e-9), 1 - 1e-9)  # at 0 and 1 themselves the error vanishes
    low = brentq(excess, 0.0, inside) if auc > 0 else 0.0
    high = brentq(excess, inside, 1.0) if auc < 1 else 1.0
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values (Holm 1979), in the order given; NaN entries take no part.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
