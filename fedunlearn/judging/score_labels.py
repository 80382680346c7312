"""Judges claimed label counts."""

import numpy as np

from fedunlearn.judging.baselines import label_chance, uniform_guess
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.intervals import interval_of_share
from fedunlearn.judging.labels import exact, irec, le_acc, ln_acc
from fedunlearn.judging.metric import Metric
from fedunlearn.observer.findings import LabelCounts

MEASURES = {"irec": irec, "exact": exact, "le-acc": le_acc, "ln-acc": ln_acc}
NAMES = tuple(MEASURES)
SHOWN = 12  # updates whose counts a report can show


def score_labels(finding: LabelCounts, case: Case) -> Verdict:
    """Score every observed update and average; chance is random labels, baseline the uniform guess."""
    rows, shown = [], []
    for (round, client), counts in zip(finding.targets, finding.counts, strict=True):
        labels = case.answers.update(case.branch, round, client).labels
        true = np.bincount(labels, minlength=case.num_classes)
        rows.append((true, np.asarray(counts)))
        shown.append({"round": round, "client": client, "true": true.tolist(), "found": np.asarray(counts).tolist()})
    chances = [label_chance(true) for true, _ in rows]
    metrics = {}
    for name, measure in MEASURES.items():
        values = [measure(true, found) for true, found in rows]
        trivial = [measure(true, uniform_guess(int(true.sum()), case.num_classes)) for true, _ in rows]
        metrics[name] = Metric(
            value=float(np.mean(values)),
            n=len(rows),
            ci=interval_of_share(values, case.rng),
            chance=float(np.mean([chance[name] for chance in chances])),
            baseline=float(np.mean(trivial)),
        )
    return Verdict(metrics, {"updates": shown[:SHOWN]})
