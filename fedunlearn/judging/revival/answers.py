"""What a model makes of a class: how much of it is called so, and how much else."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fedunlearn.judging.membership import auc
from fedunlearn.judging.metric import METRICS, mean_or_nan


@METRICS.register("erased-accuracy")
def erased_accuracy(logits: np.ndarray, labels: np.ndarray, erased: Collection[int]) -> float:
    """Share of the erased classes' images that are called by their class."""
    return mean_or_nan(_right(logits, labels)[_of(labels, erased)])


@METRICS.register("retained-accuracy")
def retained_accuracy(logits: np.ndarray, labels: np.ndarray, erased: Collection[int]) -> float:
    """Share of the other classes' images that are called by their class."""
    return mean_or_nan(_right(logits, labels)[~_of(labels, erased)])


@METRICS.register("class-false-positive-rate")
def class_false_positive_rate(logits: np.ndarray, labels: np.ndarray, erased: Collection[int]) -> float:
    """Share of the other classes' images that are called an erased class."""
    return mean_or_nan(_of(logits.argmax(axis=1), erased)[~_of(labels, erased)])


@METRICS.register("class-precision")
def class_precision(logits: np.ndarray, labels: np.ndarray, erased: Collection[int]) -> float:
    """Share of the calls of an erased class that are right; NaN where none is called so."""
    return mean_or_nan(_right(logits, labels)[_of(logits.argmax(axis=1), erased)])


@METRICS.register("logit-auc")
def logit_auc(logits: np.ndarray, labels: np.ndarray, erased: Collection[int]) -> float:
    """Area under the ROC curve of an erased class's logit, its images against all others; the mean over the classes.

    No bias changes it: it tells whether the class is still represented, not whether it is called.
    """
    return mean_or_nan([auc(logits[:, u], labels == u) for u in sorted(erased)])


def _of(classes: np.ndarray, erased: Collection[int]) -> np.ndarray:
    return np.isin(classes, sorted(erased))


def _right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(logits.argmax(axis=1) == labels)
