"""Judges claimed forgotten classes; one trial per case, rates come from many seeds."""

import numpy as np

from fedunlearn.judging import classes
from fedunlearn.judging.baselines import class_chance, nobody_forgotten
from fedunlearn.judging.case import Case, Verdict
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


def score_classes(finding: ForgottenClasses, case: Case) -> Verdict:
    """Score the ranking and the named set; on a control only whether an alarm was raised, and the leak check."""
    forgotten, num_classes = case.forgotten_classes(), case.num_classes
    scores, named = np.asarray(finding.scores, dtype=float), finding.named
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
            "alarm": classes.alarm(named),
        }
    if np.isnan(scores).any():  # the attack failed: what it named means nothing either
        values = dict.fromkeys(values, NAN)
    chance = class_chance(num_classes, len(forgotten))
    trivial = {} if case.control else nobody_forgotten(num_classes, len(forgotten))
    metrics = {
        name: Metric(
            value,
            1,
            interval_of_share([value], case.rng) if name in RATES else UNKNOWN,
            chance.get(name, NAN),
            trivial.get(name, NAN),
        )
        for name, value in values.items()
    }
    details = {
        "scores": [finite_or_none(score) for score in scores],
        "named": [int(name) for name in named],
        "true": sorted(forgotten),
        "control": case.control,
    }
    return Verdict(metrics, details)
