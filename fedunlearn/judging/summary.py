"""What a matrix of cells says together: rates over seeds, false alarms, separation from the controls."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.judging.alarms import alarm_rows, separation_rows
from fedunlearn.judging.class_curves import delay_rows, partial_rows
from fedunlearn.judging.class_image_rows import class_image_rows
from fedunlearn.judging.columns import Row, attack_rows, ends, finite, mean
from fedunlearn.judging.forgetting.distributions import distribution_rows
from fedunlearn.judging.forgetting.margin_store import Margins
from fedunlearn.judging.groups import Group, Results, group_cells
from fedunlearn.judging.intervals import bootstrap_mean, holm
from fedunlearn.judging.metric import finite_or_none, number
from fedunlearn.judging.metric_rows import forgotten_count, metric_rows
from fedunlearn.judging.pooling import pooled
from fedunlearn.judging.revival_rows import revival_rows
from fedunlearn.randomness import rng

SCHEMA = "fedunlearn-summary/1"


def summarise(cells: Sequence[Results], margins: Sequence[Margins | None] = ()) -> dict[str, Any]:
    """Return the summary of results read from `results.json` files, as JSON values.

    Keys: `groups`, `rows` (one per group, attack, branch, metric), `alarms` (false alarms on the controls),
    `separation` (AUC of request against control by the attack's highest score), `delays` (share detected by round
    since the request), `partial` (scores by the share that a request names, where the matrix varies it), `accuracy`
    (of the branches), `distributions` (of the branches' margins against the retrained models' over training seeds),
    `revivals` (models before pruning, pruned and revived), `class_images` (claimed pictures, forgotten classes apart);
    in both, groups that differ only in which class is to be forgotten are one.

    Args:
        cells: the results.
        margins: what each cell kept of its final models; nothing where no cell kept any.
    """
    groups = group_cells(cells)
    draws = rng(int(cells[0]["seed"]), "judge", 0, len(cells))
    rows = [row for group in groups for row in metric_rows(group, draws)]
    for row, corrected in zip(rows, holm([number(row["p"]) for row in rows]), strict=True):
        row["p_holm"] = finite_or_none(corrected)
    return {
        "schema": SCHEMA,
        "cells": len(cells),
        "groups": [_described(group) for group in groups],
        "rows": rows,
        "alarms": alarm_rows(groups),
        "separation": [row for group in groups for row in separation_rows(group)],
        "delays": [row for group in groups for row in delay_rows(group)],
        "partial": partial_rows(groups, draws),
        "accuracy": [row for group in groups for row in _accuracy_rows(group, draws)],
        "distributions": list(distribution_rows(cells, margins)) if margins else [],
        "revivals": [row for group in pooled(groups) for row in revival_rows(group, draws)],
        "class_images": [row for group in pooled(groups) for row in class_image_rows(group, draws)],
    }


def write_summary(folder: Path, summary: dict[str, Any], methods: Sequence[Row] = ()) -> None:
    """Write `summary.json` and, its metric rows alone, `summary.csv`; atomic.

    Args:
        folder: where they go.
        summary: from `summarise`.
        methods: what else belongs into `summary.csv`: figures of the unlearning methods.
    """
    _replace(folder / "summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    plain = [*(_flat(row) for row in summary["rows"]), *methods]
    temporary = folder / "summary.csv.part"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(["group", *(key for row in plain for key in row)])))
        writer.writeheader()
        writer.writerows(plain)
    os.replace(temporary, folder / "summary.csv")


def _described(group: Group) -> Row:
    found = [row for rows in attack_rows(group).values() for row in rows if row["finds"] == "forgotten-classes"]
    values = {"label": group.label, "values": group.values, "cells": len(group.cells)}
    return values | {"forgotten_classes": forgotten_count(found)}


def _accuracy_rows(group: Group, draws: np.random.Generator) -> Iterable[Row]:
    """Average the branches' metrics over the cells, and their distance to retraining, cell by cell."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for results in group.cells:
        retrained: Row = next((branch["metrics"] for branch in results["branches"] if branch["name"] == "retrain"), {})
        for branch in results["branches"]:
            for name, value in branch["metrics"].items():
                pair = (number(value), number(retrained.get(name)))
                found.setdefault((branch["name"], name), []).append(pair)
    for (branch, name), pairs in found.items():
        values, oracle = np.array(pairs).T
        yield {
            "group": group.label,
            "branch": branch,
            "metric": name,
            "value": mean(values),
            "n": len(finite(values)),
            "ci": ends(bootstrap_mean(finite(values), draws)),
            "above_retrain": None if branch == "retrain" else mean(values - oracle),
        }


def _flat(row: Row) -> Row:
    flat = {key: value for key, value in row.items() if not key.endswith("ci")}
    for key in ("ci", "excess_ci"):
        flat[f"{key}_low"], flat[f"{key}_high"] = row[key]
    return flat


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
