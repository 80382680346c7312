"""Claimed pictures of classes over the cells of a group: of all classes, of what was forgotten, and of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedunlearn.judging.cell_figures import figures, names_of, seeded_rows
from fedunlearn.judging.columns import Row, details_of
from fedunlearn.judging.groups import Group, Results
from fedunlearn.judging.intervals import wilson
from fedunlearn.judging.inversion.comparison import OF_CLAIMED
from fedunlearn.judging.inversion.parts import HELD_OUT_NAMES, MEASURES, NAMES
from fedunlearn.judging.metric import Metric
from fedunlearn.names import TRUNK

FINDS = "class-images"
ALL_CLASSES = ("attack-accuracy", "coverage", "ddcs-surrogate", "knn-distance")
YES_OR_NO = ("attack-accuracy", "coverage", "vulnerable-share")  # of every picture or sample


def class_image_rows(group: Group, draws: np.random.Generator) -> list[Row]:
    """Return a row per attack, observer and branch, with all its `figures`, and how good the judge's classifier was.

    A measure of what was forgotten is called `forgotten-` and its name, of the rest `others-`, of fresh samples
    `held-out-`. `cells` is how many the group has. Before the request nothing was forgotten: there the parts are those
    of the classes that will be.
    """
    complete = replace(group, cells=tuple(_with_parts_before(results) for results in group.cells))
    found = seeded_rows(complete, FINDS)
    names = names_of(list(found))
    return [
        {
            "group": group.label,
            "attack": names[branch, attack, observer],
            "observer": observer,
            "branch": branch,
            "cells": len(group.cells),
            "reason": next((row["reason"] for row in own if row.get("reason")), ""),
            "figures": figures(own, (*ALL_CLASSES, *NAMES, *HELD_OUT_NAMES), len(group.cells), draws),
            "evaluator": _evaluator(own),
        }
        for (branch, attack, observer), own in found.items()
    ]


def _evaluator(found: Sequence[Row]) -> Row | None:
    """Return the accuracy of the judge's own classifier, mean over the cells, and on how many samples; None unknown."""
    told = details_of(found, "evaluator")
    if not told:
        return None
    return {
        "accuracy": float(np.mean([entry["accuracy"] for entry in told])),
        "tested-on": sum(entry["tested-on"] for entry in told),
    }


def _with_parts_before(results: Results) -> Results:
    """Return the results with the parts of the attacks on the trunk taken from what is told class by class."""
    own = [row for row in results["attacks"] if row["finds"] == FINDS]
    gone = {str(label) for classes in details_of(own, "forgotten-classes") for label in classes}
    if not gone:
        return results
    rows = [
        {**row, "metrics": row["metrics"] | _parts(row["details"], gone)}
        if row["finds"] == FINDS and row["branch"] == TRUNK and "per-class-n" in row.get("details", {})
        else row
        for row in results["attacks"]
    ]
    return {**results, "attacks": rows}


def _parts(details: Row, gone: set[str]) -> Row:
    found = {}
    for measure in MEASURES:
        values = details["per-class"][measure]
        counts = details["per-class-n"]["claimed" if measure in OF_CLAIMED else "private"]
        for part in ("forgotten", "others"):
            labels = [label for label in values if (label in gone) == (part == "forgotten")]
            found[f"{part}-{measure}"] = _mean(
                measure, [(values[k], counts[k]) for k in labels if values[k] is not None]
            )
    return found


def _mean(measure: str, classes: Sequence[tuple[float, int]]) -> Row:
    """Return the mean over the samples of classes that is made of the classes' means."""
    n = sum(count for _, count in classes)
    if not n:
        return Metric(np.nan, 0).to_json()
    value = sum(mean * count for mean, count in classes) / n
    metric = Metric(value, n, wilson(round(value * n), n)) if measure in YES_OR_NO else Metric(value, n)
    return metric.to_json()
