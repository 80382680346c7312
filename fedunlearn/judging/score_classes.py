"""Judges claimed forgotten classes; one trial per case, rates come from many seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.judging import classes, detection
from fedunlearn.judging.baselines import class_chance, nobody_forgotten
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.class_shares import distribution_error
from fedunlearn.judging.intervals import interval_of_share
from fedunlearn.judging.metric import NAN, RATES, UNKNOWN, Metric, finite_or_none
from fedunlearn.observer.findings import ForgottenClasses

NAMES = (
    "top-1",
    "exact-set",
    "jaccard",
    "mcc",
    "balanced-accuracy",
    "per-class-accuracy",
    "mrr",
    "class-auc",
    "alarm",
)
CONTROL_NAMES = ("false-alarm", "top-1")  # top-1 is a leak check there: a target drawn at random gives 1/K
STREAM_NAMES = ("detected-within-1", "detected", "detection-delay", "early-alarms")  # of attacks on many rounds
GUESSED_NAMES = ("request-round-error", "distribution-error")  # of attacks that claim such things
GUESSED_ROUND = "request-round"


def score_classes(finding: ForgottenClasses, case: Case) -> Verdict:
    """Score ranking, named set, what was said on the way, and the claimed class shares.

    Where no whole class was asked to be forgotten, ranking and named set have nothing to be right about: NaN. On a
    control it is scored whether an alarm was raised, and the ranking and the shares as leak checks.

    Raises:
        DataError: when scores or shares are not one number per class.
    """
    _check(finding, case.num_classes)
    forgotten, scores = case.forgotten_classes(), np.asarray(finding.scores, dtype=float)
    metrics, details = _named(finding, case)
    streamed, watched = _watched(finding, case)
    spread, compared = _spread(finding, case)
    metrics |= streamed | spread
    if np.isnan(scores).any():  # the attack failed: what it named means nothing either
        metrics = {name: metric.with_values(value=NAN, ci=UNKNOWN) for name, metric in metrics.items()}
    details |= {
        "scores": [finite_or_none(score) for score in scores],
        "named": [int(name) for name in finding.named],
        "true": sorted(forgotten),
        "control": case.control,
    }
    arrays = {} if finding.prototypes is None else {"prototypes": np.asarray(finding.prototypes, dtype=np.float32)}
    return Verdict(metrics, details | watched | compared, arrays)


def _check(finding: ForgottenClasses, num_classes: int) -> None:
    for what in ("scores", "distribution", "prototypes"):
        values = getattr(finding, what)
        if values is not None and len(values) != num_classes:
            raise DataError(f"claimed {what} of {len(values)} classes, there are {num_classes}")


def _named(finding: ForgottenClasses, case: Case) -> tuple[dict[str, Metric], dict[str, Any]]:
    """Score ranking and named set; the details keep what naming nobody scores."""
    forgotten, num_classes, named = case.forgotten_classes(), case.num_classes, finding.named
    scores = np.asarray(finding.scores, dtype=float)
    values = {"top-1": classes.top_1(scores, forgotten)}
    if case.control:
        values["false-alarm"] = classes.false_alarm(named)
    else:
        values |= {
            "exact-set": classes.exact_set(named, forgotten),
            "jaccard": classes.jaccard(named, forgotten, num_classes),
            "mcc": classes.mcc(named, forgotten, num_classes),
            "balanced-accuracy": classes.balanced_accuracy(named, forgotten, num_classes),
            "per-class-accuracy": classes.per_class_accuracy(named, forgotten, num_classes),
            "mrr": classes.mrr(scores, forgotten),
            "class-auc": classes.class_auc(scores, forgotten),
        }
        values = values if forgotten else dict.fromkeys(values, NAN)
        values["alarm"] = classes.alarm(named)
    chance = class_chance(num_classes, len(forgotten))
    nobody = {} if case.control or not forgotten else nobody_forgotten(num_classes, len(forgotten))
    return _metrics(values, case, chance, nobody), {"nobody": nobody} if nobody else {}


def _watched(finding: ForgottenClasses, case: Case) -> tuple[dict[str, Metric], dict[str, Any]]:
    """Score what an attack on a stream said after each round, and its guess of the request's round."""
    forgotten, request = case.forgotten_classes(), case.request_round
    if request is None:
        return {}, {}
    values, details = {}, {}
    guess = finding.notes.get(GUESSED_ROUND)
    if guess is not None and "request-round" not in case.flags and not case.control:
        values["request-round-error"] = detection.request_round_error(guess, request)
    if finding.said:
        last = max(entry.round for entry in finding.said)
        seen = detection.watch(finding.said, forgotten, last if case.control else request)
        values["early-alarms"] = detection.early_alarms(seen)
        details["detection"] = {"rounds": seen.rounds.tolist(), "loud": seen.loud.tolist()}
        if forgotten and not case.control:
            values["detection-delay"] = detection.detection_delay(seen)
            values["detected"] = detection.detected(seen)
            values["detected-within-1"] = detection.detected_within_1(seen)
            details["detection"] |= {
                "right": seen.right.tolist(),
                "delay": finite_or_none(values["detection-delay"]),
                "censored": values["detected"] == 0,
            }
    exact = class_chance(case.num_classes, len(forgotten)).get("exact-set", NAN)
    chance = dict.fromkeys(("detected", "detected-within-1"), exact)
    nobody = {"detected": 0.0, "detected-within-1": 0.0, "early-alarms": 0.0}
    return _metrics(values, case, chance, nobody), details


def _spread(finding: ForgottenClasses, case: Case) -> tuple[dict[str, Metric], dict[str, Any]]:
    """Score the claimed class shares of what was forgotten; chance is the shares of all training data."""
    true, everything = case.forgotten_shares(), case.training_shares()
    if finding.distribution is None or true is None or everything is None:
        return {}, {}
    claimed = np.asarray(finding.distribution, dtype=float)
    name, chance = "distribution-error", distribution_error(everything, true)
    even = distribution_error(np.full(len(true), 1 / len(true)), true)
    value = {name: distribution_error(claimed, true)}
    metrics = _metrics(value, case, {name: chance}, {name: min(chance, even)})
    compared = {"claimed": [finite_or_none(share) for share in claimed], "true": true.tolist()}
    return metrics, {"shares": compared | {"all": everything.tolist()}}


def _metrics(
    values: Mapping[str, float], case: Case, chance: Mapping[str, float], trivial: Mapping[str, float]
) -> dict[str, Metric]:
    return {
        name: Metric(
            value,
            1,
            interval_of_share([value], case.rng) if name in RATES else UNKNOWN,
            chance.get(name, NAN),
            trivial.get(name, NAN),
        )
        for name, value in values.items()
    }
