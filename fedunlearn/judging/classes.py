"""How well claimed forgotten classes agree with the true ones; one trial each."""

from collections.abc import Collection

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import balanced_accuracy_score, jaccard_score, matthews_corrcoef, roc_auc_score

from fedunlearn.judging.metric import METRICS, NAN


def indicator(classes: Collection[int], num_classes: int) -> np.ndarray:
    """Return a boolean array (num_classes,) that is true at `classes`."""
    marks = np.zeros(num_classes, dtype=bool)
    marks[list(classes)] = True
    return marks


@METRICS.register("top-1")
def top_1(scores: np.ndarray, forgotten: Collection[int]) -> float:
    """Whether the class with the highest score was forgotten; equal winners share the credit.

    A constant score gives k/K, the chance level; a plain argmax would always answer class 0. NaN when no class
    was forgotten.
    """
    if not forgotten or np.isnan(scores).any():
        return NAN
    winners = np.flatnonzero(scores == scores.max())
    return float(np.isin(winners, list(forgotten)).mean())


@METRICS.register("exact-set")
def exact_set(named: Collection[int], forgotten: Collection[int]) -> float:
    """1 when the named classes are exactly the forgotten ones, else 0."""
    return float(set(named) == set(forgotten))


@METRICS.register("jaccard")
def jaccard(named: Collection[int], forgotten: Collection[int], num_classes: int) -> float:
    """Size of the intersection of named and forgotten classes over that of their union; 1 when both are empty."""
    true, found = indicator(forgotten, num_classes), indicator(named, num_classes)
    return float(jaccard_score(true, found, zero_division=1.0))


@METRICS.register("mcc")
def mcc(named: Collection[int], forgotten: Collection[int], num_classes: int) -> float:
    """Matthews correlation of named and forgotten classes; 0 when either side names none or all."""
    true, found = indicator(forgotten, num_classes), indicator(named, num_classes)
    if any(side.all() or not side.any() for side in (true, found)):
        return 0.0
    return float(matthews_corrcoef(true, found))


@METRICS.register("balanced-accuracy")
def balanced_accuracy(named: Collection[int], forgotten: Collection[int], num_classes: int) -> float:
    """Mean of the shares of forgotten and of retained classes that were told right; NaN when one kind is missing."""
    if not 0 < len(set(forgotten)) < num_classes:
        return NAN
    return float(balanced_accuracy_score(indicator(forgotten, num_classes), indicator(named, num_classes)))


@METRICS.register("per-class-accuracy")
def per_class_accuracy(named: Collection[int], forgotten: Collection[int], num_classes: int) -> float:
    """Share of classes told right; flattering: naming nobody scores (K-k)/K. For comparison with arXiv 2604.07386."""
    return float(np.mean(indicator(forgotten, num_classes) == indicator(named, num_classes)))


@METRICS.register("mrr")
def mrr(scores: np.ndarray, forgotten: Collection[int]) -> float:
    """Mean of 1/rank of the forgotten classes; equal scores get the mean over their ranks."""
    if not forgotten or np.isnan(scores).any():
        return NAN
    higher = np.array([np.count_nonzero(scores > scores[u]) for u in forgotten])
    equal = np.array([np.count_nonzero(scores == scores[u]) for u in forgotten])
    return float(np.mean([np.mean(1 / np.arange(h + 1, h + e + 1)) for h, e in zip(higher, equal, strict=True)]))


@METRICS.register("class-auc")
def class_auc(scores: np.ndarray, forgotten: Collection[int]) -> float:
    """Area under the ROC curve of the scores, forgotten against retained classes; .5 for a constant score."""
    if np.isnan(scores).any() or not 0 < len(set(forgotten)) < len(scores):
        return NAN
    return float(roc_auc_score(indicator(forgotten, len(scores)), rankdata(scores)))


@METRICS.register("alarm")
def alarm(named: Collection[int]) -> float:
    """1 when the attack's own decision rule names any class at all, else 0."""
    return float(len(named) > 0)


@METRICS.register("false-alarm")
def false_alarm(named: Collection[int]) -> float:
    """1 when any class is named although no class was asked to be forgotten (control and placebo), else 0."""
    return alarm(named)
