"""Ways to tell whether a class left the training data between the rounds before and after a request.

All see one row per round. Absent classes are pushed down in every step of plain SGD: the bias of a class that is
in no client's data cannot rise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

TINY = float(np.finfo(float).tiny)
FEWEST = 5  # classes below which nothing stands out from the rest
FEWEST_BEFORE = 3  # rounds before the request without which nothing can be named


@dataclass(frozen=True)
class Evidence:
    """Per class (num_classes,): the score (higher = more likely forgotten) and the one-sided p-value."""

    scores: np.ndarray
    p_values: np.ndarray

    @property
    def strength(self) -> float:
        """How strongly it speaks for a request: -ln of the lowest p-value."""
        return float(-np.log(np.maximum(self.p_values.min(), TINY)))


def fewer_rises(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> Evidence:
    """Return the evidence that client updates raise a class's bias more rarely than before.

    Fisher's exact test of the 2x2 table (before or after, risen or not), lower tail. Counting all updates of a round
    as independent draws is conservative: clients differ in their data, so their number of rises varies less.

    Args:
        before: per round the updates' bias changes (updates, num_classes).
        after: the same after the request.
    """
    (old, old_size), (new, new_size) = _rises(before), _rises(after)
    p_values = stats.hypergeom.cdf(new, old_size + new_size, old + new, new_size)
    return Evidence(-np.log10(np.maximum(p_values, TINY)), p_values)


def fewer_have(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> Evidence:
    """Return the evidence that fewer updates have a class than before.

    The larger p-value of two tests, as either alone is too sure of itself: `fewer_rises` takes the updates of a client
    for independent, and Student's t of the share of updates per round (`drop_beyond_drift`) trusts shares that happened
    not to vary.

    Args:
        before: per round whether each update has each class, 0 or 1, (updates, num_classes).
        after: the same after the request.
    """
    old, new = ([updates.mean(axis=0) for updates in rounds] for rounds in (before, after))
    p_values = np.maximum(fewer_rises(before, after).p_values, drop_beyond_drift(old, new).p_values)
    return Evidence(-np.log10(np.maximum(p_values, TINY)), p_values)


def _rises(rounds: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    changes = np.concatenate(list(rounds))
    return (changes > 0).sum(axis=0), len(changes)


def larger_drop(
    before: Sequence[np.ndarray], after: Sequence[np.ndarray], floor: np.ndarray | float = TINY
) -> Evidence:
    """Return the evidence that a class's bias falls faster than before.

    s_c = -sum over the rounds after of (change - mean change before), standardised by the class's own spread in the
    rounds before: Student's t with (rounds before - 1) degrees of freedom. Successive changes of a trained model
    tend to cancel, which makes the test conservative.

    Args:
        before: per round the global bias change (num_classes,), at least two rounds.
        after: the same after the request.
        floor: the least spread that is believed, one number or (num_classes,).
    """
    old, new = np.stack(before), np.stack(after)
    drop = -(new - old.mean(axis=0)).sum(axis=0)
    spread = np.maximum(old.std(axis=0, ddof=1), floor)
    scores = drop / (spread * np.sqrt(len(new) * (1 + len(new) / len(old))))
    return Evidence(scores, stats.t.sf(scores, len(old) - 1))


def more_absences(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the p-values (num_classes,) of classes that are absent more often than by chance.

    The chance is estimated from the rounds before, for all classes together by Jeffreys' rule (half an absence is
    added), or for the class alone where it was absent more often than that. Absences of successive rounds count as
    independent: a class that is absent twice in a row is so by chance with the square of the probability.

    Args:
        before: (rounds, num_classes) whether a class was absent in a round.
        after: the same after the request.
    """
    pooled = (before.sum() + 0.5) / (before.size + 1)
    rates = np.maximum(pooled, before.mean(axis=0))
    p_values: np.ndarray = stats.binom.sf(after.sum(axis=0) - 1, len(after), rates)
    return p_values


def unreferenced(scores: np.ndarray) -> Evidence:
    """Return evidence that only ranks, where too few rounds came before to compare with."""
    return Evidence(scores, np.ones(len(scores)))


def drop_beyond_drift(
    before: Sequence[np.ndarray], after: Sequence[np.ndarray], floor: np.ndarray | float = TINY
) -> Evidence:
    """Return the evidence that a class's number falls faster than before, and further than its drift goes on to.

    The score of `larger_drop`; the p-value is the larger one of that and of a prediction test: the mean after, against
    the line through the numbers before, drawn on (Student's t with (rounds before - 2) degrees of freedom). A model
    that still learns drifts smoothly, and the first test takes that for a request.

    Args:
        before: per round numbers (num_classes,), at least three rounds.
        after: the same after the request.
        floor: as of `larger_drop`.
    """
    old, new = np.stack(before), np.stack(after)
    times = np.arange(len(old)) - (len(old) - 1) / 2
    slope = times @ old / (times @ times)
    rest = old - old.mean(axis=0) - np.outer(times, slope)
    freedom = len(old) - 2
    spread = np.maximum(np.sqrt((rest**2).sum(axis=0) / freedom), floor)
    ahead = len(old) + (len(new) - 1) / 2 + times[0]
    error = spread * np.sqrt(1 / len(new) + 1 / len(old) + ahead**2 / (times @ times))
    beyond = (old.mean(axis=0) + slope * ahead - new.mean(axis=0)) / error
    plain = larger_drop(before, after, floor)
    return Evidence(plain.scores, np.maximum(plain.p_values, stats.t.sf(beyond, freedom)))


def paired_drop(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> Evidence:
    """Return the evidence that a class's number falls between pairs of rounds that began with the same model.

    s_c = (fall of class c - median fall) / spread, the fall averaged over the pairs, the spread 1.48 times the median
    absolute deviation over the classes: up to nearly half of them may have been forgotten. Student's t with half as
    many degrees of freedom as there are other classes, as classes differ in how much they vary. With fewer than 5
    classes nothing stands out.

    Args:
        before: numbers (num_classes,) of the earlier round of each pair.
        after: of the later one.
    """
    fall = np.mean(before, axis=0) - np.mean(after, axis=0)
    apart = fall - np.median(fall)
    spread = max(float(stats.median_abs_deviation(fall, scale="normal")), TINY)
    if len(fall) < FEWEST:
        return unreferenced(fall)
    return Evidence(apart / spread, stats.t.sf(apart / spread, (len(fall) - 1) / 2))
