"""Judges claimed training images."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.image_metrics import ImageScorer
from fedunlearn.observer.findings import ForgottenImages, Reconstructions

SHOWN = 12  # updates whose pictures a report can show


def score_images(finding: Reconstructions, case: Case) -> Verdict:
    """Match, score and average over the images of all updates; the baseline is the trivial answer that does best."""
    scorer = ImageScorer(case)
    arrays: dict[str, np.ndarray] = {}
    shown: list[dict[str, Any]] = []
    right = images = 0
    for index, (round, client) in enumerate(finding.targets):
        true = case.answers.update(case.branch, round, client)
        batch = scorer.add(true.sample_ids, finding.images[index])
        known = labels_right(true.labels, finding.labels[index])
        right, images = right + known, images + len(true.labels)
        if index < SHOWN:
            arrays |= batch.pictures(index)
            own = {"round": round, "client": client, "labels-right": known}
            shown.append(own | batch.details(true.labels[batch.found.rows]))
    labels = {"label-source": finding.label_source, "labels-right": [right, images]}
    details = {"updates": shown} | labels | scorer.details()
    return Verdict(scorer.metrics(), details, arrays)


def score_forgotten_images(finding: ForgottenImages, case: Case) -> Verdict:
    """Score claimed pictures against all samples that the requests of the case are about.

    On a control these are the samples that the other branches were asked to forget: what is found there, an attack
    finds without any forgetting. With fewer claims than samples the pairs that fit best count, and trivial answers
    get as many copies; samples that nothing was claimed for lower the rebuilt share.
    The labels shown are those that the attack claims.

    Raises:
        DataError: where no request was served, or labels are missing.
    """
    if len(finding.labels) != len(finding.images):
        raise DataError(f"{len(finding.images)} pictures with {len(finding.labels)} labels")
    if not case.request_ids:
        raise DataError(f"nothing was asked to be forgotten on {case.branch}")
    scorer = ImageScorer(case)
    batch = scorer.add(case.forgotten_samples(), finding.images)
    claimed = np.asarray(finding.labels)[batch.found.columns]
    shown = {"request": finding.request, "claimed": len(finding.images), **batch.details(claimed)}
    details = {"forgotten": shown, "label-source": finding.label_source} | scorer.details()
    return Verdict(scorer.metrics(), details, batch.pictures(0))


def labels_right(true: np.ndarray, used: np.ndarray) -> int:
    """Return how many of the true labels (n,) an attack used as well, whatever their order.

    Example:
        >>> labels_right(np.array([3, 3, 1]), np.array([1, 3, 2]))
        2
    """
    return (Counter(true.tolist()) & Counter(np.asarray(used).tolist())).total()
