"""How surprising a row of a summary would be if the attack knew nothing."""

import numpy as np
from scipy import stats

from fedunlearn.judging.metric import NAN


def p_value(values: np.ndarray, references: np.ndarray, rng: np.random.Generator, *, rate: bool) -> float:
    """Return the one-sided p-value of `values` not being above `references`, one pair per trial.

    A rate (hits and misses, 1 and 0) against one chance level: exact binomial test. Anything else: sign-flip
    permutation test of the mean difference, exact below 14 trials; NaN for fewer than two.
    """
    known = np.isfinite(values) & np.isfinite(references)
    sample, reference = values[known], references[known]
    if not len(sample):
        return NAN
    if rate and np.isin(sample, (0, 1)).all() and np.ptp(reference) == 0:
        return float(stats.binomtest(int(sample.sum()), len(sample), float(reference[0]), "greater").pvalue)
    if len(sample) < 2:
        return NAN
    test = stats.permutation_test(
        (sample - reference,), np.mean, permutation_type="samples", alternative="greater", rng=rng
    )
    return float(test.pvalue)
