"""Judges a revived model against the models before and after the pruning."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.federation import Weights
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.intervals import auc_interval, wilson
from fedunlearn.judging.metric import NAN, UNKNOWN, Interval, Metric, finite_or_none
from fedunlearn.judging.revival.answers import (
    class_false_positive_rate,
    class_precision,
    erased_accuracy,
    logit_auc,
    retained_accuracy,
)
from fedunlearn.judging.revival.generated import generated_by, shown_models
from fedunlearn.judging.revival.weights import Count, kept_sign_accuracy, mask_precision, mask_recall, sign_accuracy
from fedunlearn.learning.evaluation import evaluate
from fedunlearn.models import Classifier
from fedunlearn.observer.findings import RevivedModel

ANSWERS: dict[str, Callable[[np.ndarray, np.ndarray, Collection[int]], float]] = {
    "erased-accuracy": erased_accuracy,
    "retained-accuracy": retained_accuracy,
    "class-false-positive-rate": class_false_positive_rate,
    "class-precision": class_precision,
    "logit-auc": logit_auc,
}
WEIGHT_NAMES = ("sign-accuracy", "kept-sign-accuracy", "mask-precision", "mask-recall")
NAMES = (*ANSWERS, *WEIGHT_NAMES)
SIGN_CHANCE = 0.5


def score_revival(finding: RevivedModel, case: Case) -> Verdict:
    """Score a revived model's answers to unseen images, and its claims about single weights.

    A model that generates is scored by what the judge's own classifier takes its images for instead (`portraits`).
    The baseline of the answers is the model that was attacked, as it is without any attack; what the model answered
    before the request is in the details, and so is the pruned one. Chance of a sign is one half. Claims about weights
    are NaN where nothing was pruned or nothing is claimed. Where no whole class was asked to be forgotten, the answers
    are judged by nothing: NaN.

    Raises:
        DataError: when the finding is of another model, or the case has no models to compare with.
    """
    if case.models is None or case.unseen is None or case.labels is None or case.classifier is None:
        raise DataError("a revived model is judged beside the models before and after; this case has none")
    attacked, before = case.models("final"), case.models("before")
    _check(finding, attacked)
    erased = case.forgotten_classes()
    generated = generated_by(case, attacked)
    look: Callable[[Weights], np.ndarray]
    if generated:
        labels, look = generated.labels, generated.logits
    else:
        ids = case.unseen()
        labels, look = _answering(case.classifier, case.images(ids), case.labels(ids))

    def answers(weights: Weights | None) -> dict[str, float]:
        if weights is None or not erased:
            return dict.fromkeys(ANSWERS, NAN)
        logits = look(weights)
        return {name: score(logits, labels, erased) for name, score in ANSWERS.items()}

    revived, pruned, original = (answers(weights) for weights in (finding.weights, attacked, before))
    member = np.isin(labels, sorted(erased))
    metrics = {name: _answer(name, revived[name], pruned[name], member) for name in ANSWERS}
    metrics |= _of_weights(finding, before, case.pruned() if case.pruned else {})
    stages = {"before": original, "pruned": pruned, "revived": revived}
    details: dict[str, Any] = {
        "stages": {stage: {name: finite_or_none(v) for name, v in by.items()} for stage, by in stages.items()},
        "erased": sorted(erased),
        "revived-class": finding.revived_class,
        "filled": {name: int(mask.sum()) for name, mask in finding.filled.items()},
        "control": case.control,
    }
    if generated is None or attacked is None:
        return Verdict(metrics, details)
    shown = shown_models(before, attacked, finding.weights, case.pruned() if case.pruned else {})
    return Verdict(metrics, details | generated.describe(), generated.grids(shown))


def _answering(
    classifier: Callable[[Weights], Classifier], images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, Callable[[Weights], np.ndarray]]:
    """Return the labels, and what returns the logits of a model on the images."""
    return labels, lambda weights: evaluate(classifier(weights), images, labels).logits


def _check(finding: RevivedModel, attacked: Weights | None) -> None:
    if attacked is None:
        raise DataError("there is no final model to compare a revived one with")
    shapes = {name: array.shape for name, array in attacked.items()}
    if shapes != {name: array.shape for name, array in finding.weights.items()}:
        raise DataError("the revived model's tensors are not those of the model that was attacked")
    for what, arrays in (("filled", finding.filled), ("signs", finding.signs)):
        for name, array in arrays.items():
            if shapes.get(name) != array.shape:
                raise DataError(f"{what} {name} is {list(array.shape)}, the model has {list(shapes.get(name, ()))}")


def _answer(name: str, value: float, baseline: float, member: np.ndarray) -> Metric:
    erased, others = int(member.sum()), int((~member).sum())
    if name == "logit-auc":
        return Metric(value, len(member), auc_interval(value, erased, others), SIGN_CHANCE, baseline)
    if name == "class-precision":  # of how many calls follows from the two rates; their number is not fixed
        return Metric(value, erased, UNKNOWN, baseline=baseline)
    n = erased if name == "erased-accuracy" else others
    return Metric(value, n, _wilson(value, n), baseline=baseline)


def _wilson(share: float, n: int) -> Interval:
    return UNKNOWN if np.isnan(share) else wilson(round(share * n), n)


def _of_weights(finding: RevivedModel, before: Weights | None, pruned: Weights) -> dict[str, Metric]:
    """Return the metrics of claims about weights; one trial per weight."""
    counts: dict[str, Callable[[Weights], Count]] = {
        "sign-accuracy": lambda true: sign_accuracy(finding.signs, true, pruned),
        "kept-sign-accuracy": lambda true: kept_sign_accuracy(finding.weights, true, pruned, finding.filled),
        "mask-precision": lambda true: mask_precision(finding.filled, pruned),
        "mask-recall": lambda true: mask_recall(finding.filled, pruned),
    }
    metrics = {name: Metric(NAN, 0) for name in WEIGHT_NAMES}
    if before is None or not pruned or not finding.filled:
        return metrics
    for name, count in counts.items():
        found = count(before)
        chance = SIGN_CHANCE if "sign" in name else _density(finding, pruned) if name == "mask-precision" else NAN
        metrics[name] = Metric(found.share, found.of, wilson(found.hits, found.of), chance)
    return metrics


def _density(finding: RevivedModel, pruned: Weights) -> float:
    """Return what share of the tensors that the attack looked at was pruned: the precision of a mask at random."""
    looked = [name for name in finding.filled if name in pruned]
    size = sum(pruned[name].size for name in looked)
    return sum(int(pruned[name].sum()) for name in looked) / size if size else NAN
