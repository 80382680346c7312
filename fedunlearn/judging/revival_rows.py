"""Revived models over the cells of a group: before pruning, pruned, and after every revival, the controls apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fedunlearn.judging.cell_figures import SEEDS, UNKNOWN, figure, figures, names_of, seeded_rows
from fedunlearn.judging.columns import Row, details_of
from fedunlearn.judging.groups import Group
from fedunlearn.judging.intervals import auc_interval, wilson
from fedunlearn.judging.metric import finite_or_none, is_share, number

FINDS = "revival"
STAGES = {"before": "before pruning", "pruned": "pruned"}  # by what the details of a verdict call them
ANSWERS = ("erased-accuracy", "retained-accuracy", "class-false-positive-rate", "class-precision", "logit-auc")
WEIGHTS = ("sign-accuracy", "kept-sign-accuracy", "mask-precision", "mask-recall")
KINDS = ("stage", "attack", "oracle", "control")
NO_WEIGHT_RECOVERED = ("class-bias-revival", "donor-rows")
KEPT_FROM_BEFORE = "past-round-oracle"


def revival_rows(group: Group, draws: np.random.Generator) -> list[Row]:
    """Return a row per branch and model: the stages, then the revivals of all observers, the controls last.

    `kind` is one of `KINDS`: `oracle` was given or has kept a part of the truth, `control` recovers no pruned weight.
    `rounds` and `series` are of revivals that watched rounds: how many, and in which form. `cells` is how many cells
    the group has.
    """
    found = seeded_rows(group, FINDS)
    names = names_of(list(found))
    rows: list[Row] = []
    for branch in dict.fromkeys(branch for branch, _, _ in found):
        own = {key: each for key, each in found.items() if key[0] == branch}
        told = _telling(own.values())
        if not told:
            continue  # every attack was refused there, or no whole class was to be forgotten
        where = {"group": group.label, "branch": branch, "cells": len(group.cells)}
        made = [where | row for row in _stages(told, len(group.cells), draws)]
        made += [where | _revived(names[key], key, each, len(group.cells), draws) for key, each in own.items()]
        rows += sorted(made, key=lambda row: KINDS.index(row["kind"]))
    return rows


def _revived(name: str, key: tuple[str, str, str], found: Sequence[Row], cells: int, draws: np.random.Generator) -> Row:
    notes: dict[str, Any] = next(iter(details_of(found, "notes")), {})
    watched = notes.get("rounds")
    return {
        "model": name,
        "observer": key[2],
        "kind": _kind(found),
        "grants": sorted({grant for row in found for grant in row["grants"]}),
        "rounds": len(watched) if isinstance(watched, list) else None,
        "series": _series(key[1], notes) if isinstance(watched, list) else None,
        "reason": next((row["reason"] for row in found if row.get("reason")), ""),
        "figures": figures(found, (*ANSWERS, *WEIGHTS), cells, draws),
    }


def _series(attack: str, notes: Row) -> str:
    """Return what revivals share that differ in the number of rounds only."""
    return f"{notes['form']}, {'fused' if notes.get('fused') else 'alone'}" if "form" in notes else attack


def is_control(row: Mapping[str, Any]) -> bool:
    """Return whether a revival recovers no pruned weight."""
    signs = row.get("details", {}).get("notes", {}).get("signs")
    return row["finds"] == FINDS and (row["name"] in NO_WEIGHT_RECOVERED or signs == "random")


def revived_rightly(erased: float | None, precision: float | None) -> float:
    """Return the harmonic mean of a class's accuracy and the precision of its calls; 0 where it is never called.

    Erased accuracy alone praises whoever calls everything the erased class.

    Example:
        >>> revived_rightly(1.0, 0.1) < revived_rightly(0.6, 0.9), revived_rightly(0.0, None)
        (True, 0.0)
    """
    return 2 * erased * precision / (erased + precision) if erased and precision else 0.0


def _kind(found: Sequence[Row]) -> str:
    if any(map(is_control, found)):
        return "control"
    row = found[0]
    return "oracle" if row["grants"] or row["name"] == KEPT_FROM_BEFORE else "attack"


def _telling(found: Iterable[Sequence[Row]]) -> list[Row]:
    """Return of every cell the first row on a branch that tells of the models without any attack: all tell the same.

    Rows of one cell are told apart from others by what the requests erased, and by the seeds.
    """
    first: dict[str, Row] = {}
    for row in (row for rows in found for row in rows):
        details = row.get("details") or {}
        stages = details.get("stages", {})
        if any(value is not None for answers in stages.values() for value in answers.values()):
            first.setdefault(f"{row[SEEDS]} {details['erased']}", row)
    return list(first.values())


def _stages(told: Sequence[Row], cells: int, draws: np.random.Generator) -> list[Row]:
    seeds = [row[SEEDS] for row in told]
    empty: Row = {"observer": None, "grants": [], "rounds": None, "series": None, "reason": ""}
    return [
        {"model": name, "kind": "stage"}
        | empty
        | {
            "figures": {
                metric: figure([_entry(row, stage, metric) for row in told], seeds, metric, cells, draws)
                for metric in ANSWERS
            },
        }
        for stage, name in STAGES.items()
    ]


def _entry(row: Row, stage: str, metric: str) -> Row:
    """Return a stage's value as a metric, with the interval that a revived model's would have."""
    value, n = row["details"]["stages"][stage][metric], row["metrics"][metric]["n"]
    ci: Sequence[float | None] = (None, None)
    if value is not None and metric == "logit-auc":
        erased = row["metrics"]["erased-accuracy"]["n"]
        ci = auc_interval(number(value), erased, n - erased)
    elif value is not None and metric != "class-precision" and is_share(metric):
        ci = wilson(round(value * n), n)
    return UNKNOWN | {"value": value, "n": n, "ci": [finite_or_none(number(end)) for end in ci]}
