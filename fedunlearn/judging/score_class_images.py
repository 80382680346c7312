"""Judges claimed pictures of classes: do they show the class, and which private samples do they come close to?"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.inversion.bench import Bench
from fedunlearn.judging.inversion.comparison import CLASSWISE, NEIGHBOURHOOD, OF_CLAIMED, Comparison, Seen, compare
from fedunlearn.judging.inversion.ddcs_surrogate import GIVEN_AWAY, gini
from fedunlearn.judging.inversion.evaluator import FEATURES, NET
from fedunlearn.judging.inversion.frechet import NAME as FRECHET
from fedunlearn.judging.inversion.over_classes import mean_over_classes
from fedunlearn.judging.inversion.parts import HELD_OUT, HELD_OUT_NAMES, part_metrics
from fedunlearn.judging.inversion.parts import NAMES as PART_NAMES
from fedunlearn.judging.inversion.prdc import K
from fedunlearn.judging.inversion.vulnerability import TOP, closeness, rank_interval
from fedunlearn.judging.metric import METRICS, NAN, Metric, as_json
from fedunlearn.observer.findings import ClassImages

LISTS = ("vulnerability-rank", "vulnerability-top", "margin-rank", "margin-top")
NAMES = (*CLASSWISE, *NEIGHBOURHOOD, FRECHET, *HELD_OUT_NAMES, "ddcs-excess", *LISTS, *PART_NAMES)
BINS = 10  # of the histogram of the samples' scores


@METRICS.register("ddcs-excess")
def ddcs_excess(score: float, held_out: float) -> float:
    """By how much the ddcs-surrogate is above that of fresh samples of the classes, which give nobody away."""
    return score - held_out


def score_class_images(finding: ClassImages, case: Case) -> Verdict:
    """Score claimed pictures against the federation's samples of the claimed classes, forgotten ones included.

    Features are those of the judge's own classifier. The baseline is what public pictures score, drawn at random: an
    answer that asks no model. What is held out are fresh samples of the same classes, as many as were claimed: whoever
    is above them knows more than what the classes look like. Means are over classes, but precision, recall, density
    and coverage are over all samples; intervals draw classes again. Pictures that are not finite fail the attack:
    every metric is NaN.

    Raises:
        DataError: when pictures or labels have a wrong shape, or from `Bench`.
    """
    _check(finding, case)
    if not np.isfinite(finding.images).all():
        return Verdict({name: Metric(NAN, 0) for name in NAMES}, {"failed": "a picture has pixels that are not finite"})
    labels = np.asarray(finding.labels, np.int64)
    images, bench = np.clip(finding.images, 0, 1), Bench(case, labels)
    claimed, fresh, public = bench.look(images, labels), bench.fresh(labels), bench.public(labels)
    found = compare(bench.private, claimed)
    held_out, trivial = (means(compare(bench.private, other)) if other else {} for other in (fresh, public))
    metrics, per_class = _measured(found, bench.private, claimed, trivial, case)
    metrics |= _beside(metrics["ddcs-surrogate"], held_out, 0 if fresh is None else len(fresh.labels))
    metrics |= _lists(found, bench, case.rng)
    gone = np.isin(labels, sorted(case.forgotten_classes()))
    metrics |= part_metrics(found, gone, bench.forgotten, case.rng)
    details = bench.describe() | {
        "features": f"{NET}, the {FEATURES} inputs of its head",
        "k": K,
        "claimed": len(labels),
        "forgotten-classes": sorted(case.forgotten_classes()),
        "control": case.control,
        "per-class": as_json(per_class),
        "per-class-n": {"claimed": _counts(labels), "private": _counts(bench.private.labels)},
        "held-out": as_json(held_out),
        "sample-scores": _spread(found.values["ddcs-surrogate"]),
        "skipped": found.skipped,
    }
    return Verdict({name: metrics[name] for name in NAMES}, details, _arrays(images, bench, claimed, found, case))


def _check(finding: ClassImages, case: Case) -> None:
    if len(finding.images) != len(finding.labels):
        raise DataError(f"{len(finding.images)} pictures with {len(finding.labels)} labels")
    if len(unknown := np.setdiff1d(finding.labels, np.arange(case.num_classes))):
        raise DataError(f"claimed pictures of class {unknown[0]}; they are numbered 0 to {case.num_classes - 1}")
    if case.pool is not None:
        shape = case.images(case.pool()[:1]).shape[1:]
        if finding.images.shape[1:] != shape:
            raise DataError(f"claimed images of shape {finding.images.shape[1:]}, true ones of shape {shape}")


def means(found: Comparison) -> dict[str, float]:
    """Return the plain means of a comparison, NaN where nothing could be measured."""
    known = {name: values[np.isfinite(values)] for name, values in found.values.items()}
    return {name: float(values.mean()) if len(values) else NAN for name, values in known.items()} | {
        FRECHET: found.frechet
    }


def _measured(
    found: Comparison, private: Seen, claimed: Seen, trivial: dict[str, float], case: Case
) -> tuple[dict[str, Metric], dict[str, dict[int, float | None]]]:
    """Return what is measured sample by sample, over all classes and of each; and of all pictures at once."""
    chance = {"attack-accuracy": 1 / case.num_classes, "attack-accuracy-5": min(5, case.num_classes) / case.num_classes}
    metrics, per_class = {}, {}
    for name, values in found.values.items():
        labels = claimed.labels if name in OF_CLAIMED else private.labels
        mean, per_class[name] = mean_over_classes(values, labels, case.rng, pooled=name in NEIGHBOURHOOD)
        metrics[name] = mean.with_values(chance=chance.get(name, NAN), baseline=trivial.get(name, NAN))
    metrics[FRECHET] = Metric(found.frechet, len(claimed.labels), baseline=trivial.get(FRECHET, NAN))
    return metrics, per_class


def _beside(score: Metric, held_out: dict[str, float], fresh: int) -> dict[str, Metric]:
    """Return what fresh samples score, and by how much the pictures' score is above it."""
    metrics = {
        name: Metric(held_out.get(measure, NAN), fresh) for name, measure in zip(HELD_OUT_NAMES, HELD_OUT, strict=True)
    }
    level = held_out.get("ddcs-surrogate", NAN)
    low, high = (ddcs_excess(end, level) for end in score.ci)
    metrics["ddcs-excess"] = Metric(ddcs_excess(score.value, level), score.n, (low, high), chance=0.0)
    return metrics


def _lists(found: Comparison, bench: Bench, rng: np.random.Generator) -> dict[str, Metric]:
    """Return how well two lists of samples at risk, made without any reconstruction, fit the samples' scores."""
    scores, private = found.values["ddcs-surrogate"], bench.private
    known = np.isfinite(scores)
    lists = {"vulnerability": closeness(private.features, private.labels), "margin": bench.margins()}
    metrics: dict[str, Metric] = {}
    for name, listed in lists.items():
        if listed is None:
            metrics |= {f"{name}-{what}": Metric(NAN, 0) for what in ("rank", "top")}
            continue
        pair = listed[known], scores[known]
        ci = rank_interval(*pair, rng)
        metrics[f"{name}-rank"] = Metric(METRICS[f"{name}-rank"](*pair), len(pair[0]), ci, chance=0.0)
        metrics[f"{name}-top"] = Metric(METRICS[f"{name}-top"](*pair), len(pair[0]), chance=TOP)
    return metrics


def _counts(labels: np.ndarray) -> dict[str, int]:
    return {str(label): int(count) for label, count in zip(*np.unique(labels, return_counts=True), strict=True)}


def _spread(scores: np.ndarray) -> dict[str, Any]:
    known = scores[np.isfinite(scores)]
    return {
        "what": "ddcs-surrogate of each private sample: a surrogate of ours, not the published DDCS",
        "histogram": np.histogram(known, BINS, (0, 1))[0].tolist(),
        "gini": gini(known) if known.any() else None,
        "given-away": GIVEN_AWAY,
    }


def _arrays(images: np.ndarray, bench: Bench, claimed: Seen, found: Comparison, case: Case) -> dict[str, np.ndarray]:
    """Return the pictures, beside each the private sample of its class that is nearest, and all that has a value each.

    A picture of a class without private samples has a blank one beside it, and the id -1.
    """
    ids = np.where(found.nearest < 0, -1, bench.ids[found.nearest])
    beside = case.images(np.maximum(ids, 0))
    beside[ids < 0] = NAN
    return {
        "claimed": images.astype(np.float16),  # halves the file, and shows the same
        "claimed-labels": claimed.labels,
        "claimed-taken-for": claimed.logits.argmax(axis=1),
        "claimed-distance": found.values["knn-distance"],
        "nearest": beside.astype(np.float16),
        "nearest-ids": ids,
        "private-ids": bench.ids,
        "private-labels": bench.private.labels,
        "private-forgotten": bench.forgotten,
        "private-scores": found.values["ddcs-surrogate"],
        "private-covered": found.values["coverage"],
    }
