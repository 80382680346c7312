"""Judges claimed membership."""

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.judging import membership
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.metric import METRICS, Metric
from fedunlearn.observer.findings import Membership

CHANCE = {"auc": 0.5, "tpr-at-1-fpr": 0.01, "tpr-at-10-fpr": 0.1, "best-balanced-accuracy": 0.5}
NAMES = tuple(CHANCE)


def score_membership(finding: Membership, case: Case) -> Verdict:
    """Score how well members stand above non-members; one question over all candidates.

    Raises:
        DataError: when the finding does not have one score per candidate.
    """
    member = case.answers.candidates().member
    scores = np.asarray(finding.scores, dtype=float)
    if scores.shape != member.shape:
        raise DataError(f"{len(scores)} membership scores for {len(member)} candidates on record")
    intervals = membership.intervals(scores, member, case.rng)
    metrics = {
        name: Metric(METRICS[name](scores, member), len(member), intervals[name], chance, baseline=chance)
        for name, chance in CHANCE.items()
    }
    details = {"members": int(member.sum()), "non-members": int((~member).sum())}
    return Verdict(metrics, details, {"scores": scores, "member": member})
