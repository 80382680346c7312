"""Means over the classes of a data set (people, say) with intervals in which whole classes are drawn again."""

from __future__ import annotations

import numpy as np
from scipy import stats

from fedunlearn.judging.intervals import CONFIDENCE, RESAMPLES
from fedunlearn.judging.metric import NAN, UNKNOWN, Metric, finite_or_none


def mean_over_classes(
    values: np.ndarray, labels: np.ndarray, rng: np.random.Generator, *, pooled: bool = False
) -> tuple[Metric, dict[int, float | None]]:
    """Return the mean of values (n,) as a metric, and the mean of each class.

    Samples of one class are alike, so classes are drawn again for the interval, not samples. Values that are NaN could
    not be measured and are left out; the metric's `n` says how many were.

    Args:
        values: (n,), one per sample.
        labels: (n,), their classes.
        rng: for the bootstrap.
        pooled: whether every sample counts alike; else every class.
    """
    known = np.isfinite(values)
    classes = np.unique(labels)
    sums = np.array([values[known & (labels == label)].sum() for label in classes])
    counts = np.array([np.count_nonzero(known & (labels == label)) for label in classes])
    means = np.divide(sums, counts, out=np.full(len(classes), NAN), where=counts > 0)
    per_class = {int(label): finite_or_none(mean) for label, mean in zip(classes, means, strict=True)}
    measured = counts > 0
    if not measured.any():
        return Metric(NAN, 0), per_class
    weights = counts[measured] if pooled else np.ones(np.count_nonzero(measured))
    parts = (means[measured] * weights, weights)
    value, ci = float(_ratio(*parts)), UNKNOWN
    if len(weights) > 1:
        drawn = stats.bootstrap(
            parts, _ratio, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile", rng=rng
        ).bootstrap_distribution
        low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        ci = float(low), float(high)
    return Metric(value, int(counts.sum()), ci), per_class


def _ratio(sums: np.ndarray, weights: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(sums.sum(axis=axis) / weights.sum(axis=axis))
