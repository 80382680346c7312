"""Classes whose scores stand out from the others', at a nominal false-alarm level."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ROUNDING,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
)

FEWEST = 5  # classes below which nothing stands out from the rest


@DECISIONS.register("outliers")
class Outliers(Decision):
    """Classes whose scores stand out from the others' by a one-sided test at level alpha; needs no shadows.

    See `outliers`. The level holds where the scores of retained classes are about normal.
    """

    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return the outliers."""
        return Decided(outliers(evidence.scores, self.alpha), {"nominal-false-alarm-rate": self.alpha})


def outliers(scores: np.ndarray, alpha: float) -> tuple[int, ...]:
    """Return the classes whose scores lie above what the other classes' spread explains.

    The generalised extreme Studentised deviate test (Rosner, Technometrics 25, 1983), one-sided: of up to a third
    of the scores, the highest taken out one by one, as many are outliers as the last significant one says. One masked
    by another is found. Deviation: Student's t has half of Rosner's degrees of freedom, as classes differ in how much
    their scores vary: with Rosner's own, 5 to 20 % of control runs raised an alarm at a nominal 5 %.

    Args:
        scores: (num_classes,), finite.
        alpha: nominal false-alarm level.

    Returns:
        Ascending class numbers; none where there are fewer than 5 classes or all scores are equal.

    Example:
        >>> outliers(np.array([0.1, -0.3, 0.2, 5.0, 0.0, -0.1, 0.3, -0.2, 0.15, 6.0]), alpha=0.05)
        (3, 9)
    """
    n = len(scores)
    if n < FEWEST:
        return ()
    left, order, found = np.arange(n), [], 0
    for i in range(1, n // 3 + 1):
        rest = scores[left]
        spread = rest.std(ddof=1)
        if spread <= ROUNDING * np.abs(rest).max():
            break
        top = int(rest.argmax())
        deviate = (rest[top] - rest.mean()) / spread
        order.append(int(left[top]))
        left = np.delete(left, top)
        if deviate > critical_deviate(n, i, alpha, (n - i - 1) / 2):
            found = i
    return tuple(sorted(order[:found]))


def critical_deviate(n: int, i: int, alpha: float, freedom: float) -> float:
    """Return the critical value of the `i`-th extreme Studentised deviate of `n` numbers, one-sided.

    Args:
        n: how many numbers there were at first.
        i: how many extreme ones are tested, the one in question included.
        alpha: level.
        freedom: degrees of freedom of Student's t; n - i - 1 for normal numbers.
    """
    t = stats.t.ppf(1 - alpha / (n - i + 1), freedom)
    return float((n - i) * t / np.sqrt((n - i - 1 + t**2) * (n - i + 1)))
