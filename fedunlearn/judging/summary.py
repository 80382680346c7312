"""What a matrix of cells says together: rates over seeds, false alarms, separation from the controls."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.judging.forgetting.distributions import distribution_rows
from fedunlearn.judging.forgetting.margin_store import Margins
from fedunlearn.judging.groups import Group, Results, group_cells
from fedunlearn.judging.intervals import auc_interval, bootstrap_mean, holm, interval_of_share, wilson
from fedunlearn.judging.membership import auc
from fedunlearn.judging.metric import RATES, finite_or_none, is_share, number
from fedunlearn.judging.references import numbered
from fedunlearn.judging.significance import p_value
from fedunlearn.names import CONTROLS
from fedunlearn.randomness import rng

SCHEMA = "fedunlearn-summary/1"
PRIMARY = {
    "labels": "irec",
    "images": "psnr",
    "forgotten-classes": "top-1",
    "membership": "auc",
    "forgotten-images": "psnr",
}
Row = dict[str, Any]


def summarise(cells: Sequence[Results], margins: Sequence[Margins | None] = ()) -> dict[str, Any]:
    """Return the summary of results read from `results.json` files, as JSON values.

    Keys: `groups`, `rows` (one per group, attack, branch, metric), `alarms` (false alarms on the controls),
    `separation` (AUC of request against control by the attack's highest score), `accuracy` (of the branches),
    `distributions` (of the branches' margins against the retrained models' over training seeds).

    Args:
        cells: the results.
        margins: what each cell kept of its final models; nothing where no cell kept any.
    """
    groups = group_cells(cells)
    draws = rng(int(cells[0]["seed"]), "judge", 0, len(cells))
    rows = [row for group in groups for row in _metric_rows(group, draws)]
    for row, corrected in zip(rows, holm([number(row["p"]) for row in rows]), strict=True):
        row["p_holm"] = finite_or_none(corrected)
    return {
        "schema": SCHEMA,
        "cells": len(cells),
        "groups": [{"label": group.label, "values": group.values, "cells": len(group.cells)} for group in groups],
        "rows": rows,
        "alarms": [row for group in groups for row in _alarm_rows(group)],
        "separation": [row for group in groups for row in _separation_rows(group)],
        "accuracy": [row for group in groups for row in _accuracy_rows(group, draws)],
        "distributions": list(distribution_rows(cells, margins)) if margins else [],
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


def _metric_rows(group: Group, draws: np.random.Generator) -> Iterable[Row]:
    for (attack, observer, branch, finds), found in _attacks(group).items():
        for name in dict.fromkeys(name for row in found for name in row["metrics"]):
            metrics = [row["metrics"][name] for row in found if name in row["metrics"]]
            values = _column(metrics, "value")
            baselines, chances, controls = (_column(metrics, key) for key in ("baseline", "chance", "control"))
            known = values[np.isfinite(values)]
            interval = (interval_of_share if is_share(name) else bootstrap_mean)(known, draws)
            primary = name == PRIMARY[finds] and branch not in CONTROLS
            against = {"images": baselines, "forgotten-images": np.fmax(baselines, controls)}.get(finds, chances)
            yield {
                "group": group.label,
                "attack": attack,
                "observer": observer,
                "branch": branch,
                "finds": finds,
                "label_source": _label_source(found),
                "metric": name,
                "value": _mean(values),
                "n": len(known),
                "failed": len(values) - len(known),
                "ci": _ends(interval),
                "chance": _mean(chances),
                "baseline": _mean(baselines),
                "control": _mean(controls),
                "oracle": _mean(_column(metrics, "oracle")),
                "excess": _mean(values - baselines),
                "excess_ci": _ends(bootstrap_mean(_finite(values - baselines), draws)),
                "p": finite_or_none(p_value(values, against, draws, rate=name in RATES)) if primary else None,
            }


def _alarm_rows(group: Group) -> Iterable[Row]:
    """Count false alarms per attack on each control and on both together; attacks without an answer by themselves."""
    alarms: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    nominal: dict[tuple[str, str], Any] = {}
    for (attack, observer, branch, _), found in _attacks(group).items():
        metrics = [row["metrics"]["false-alarm"] for row in found if "false-alarm" in row["metrics"]]
        if branch in CONTROLS and metrics:
            alarms.setdefault((attack, observer), {})[branch] = _column(metrics, "value")
            notes = [row.get("details", {}).get("notes", {}).get("nominal-false-alarm-rate") for row in found]
            known = [rate for rate in notes if rate is not None]
            nominal.setdefault((attack, observer), known[0] if known else None)
    for (attack, observer), by_branch in alarms.items():
        if len(by_branch) > 1:
            by_branch["both"] = np.concatenate(list(by_branch.values()))
        for branch, values in by_branch.items():
            answers = _finite(values)
            yield {
                "group": group.label,
                "attack": attack,
                "observer": observer,
                "on": branch,
                "alarms": int(answers.sum()),
                "n": len(answers),
                "failed": len(values) - len(answers),
                "rate": _mean(values),
                "ci": _ends(wilson(int(answers.sum()), len(answers))),
                "nominal": nominal[attack, observer],
            }


def _separation_rows(group: Group) -> Iterable[Row]:
    """Compare the highest score of each attack on a branch with those on the controls."""
    highest: dict[tuple[str, str], dict[str, list[float]]] = {}
    for (attack, observer, branch, _), found in _attacks(group).items():
        scores = [row.get("details", {}).get("scores") for row in found]
        known = [max(entry) for entry in scores if entry and None not in entry]
        if known:
            highest.setdefault((attack, observer), {})[branch] = known
    for (attack, observer), by_branch in highest.items():
        quiet = [score for branch in CONTROLS for score in by_branch.get(branch, [])]
        for branch, scores in by_branch.items():
            if branch in CONTROLS or not quiet:
                continue
            request = np.arange(len(scores) + len(quiet)) < len(scores)
            area = auc(np.array(scores + quiet), request)
            yield {
                "group": group.label,
                "attack": attack,
                "observer": observer,
                "branch": branch,
                "auc": finite_or_none(area),
                "ci": _ends(auc_interval(area, len(scores), len(quiet))),
                "n": [len(scores), len(quiet)],
            }


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
            "value": _mean(values),
            "n": len(_finite(values)),
            "ci": _ends(bootstrap_mean(_finite(values), draws)),
            "above_retrain": None if branch == "retrain" else _mean(values - oracle),
        }


def _attacks(group: Group) -> dict[tuple[str, str, str, str], list[Row]]:
    """Return the attack rows of all cells by (attack, observer, branch, finds)."""
    rows: dict[tuple[str, str, str, str], list[Row]] = {}
    for results in group.cells:
        labels = numbered([(row["name"], row["observer"], row["branch"]) for row in results["attacks"]])
        for label, row in zip(labels, results["attacks"], strict=True):
            rows.setdefault((label, row["observer"], row["branch"], row["finds"]), []).append(row)
    return rows


def _label_source(found: Sequence[Row]) -> str | None:
    """Return where an image attack's labels came from; None for other attacks."""
    sources = {row.get("details", {}).get("label-source") for row in found} - {None}
    return " + ".join(sorted(sources)) or None


def _column(metrics: Sequence[Row], name: str) -> np.ndarray:
    return np.array([number(metric[name]) for metric in metrics])


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _mean(values: np.ndarray) -> float | None:
    known = _finite(values)
    return float(known.mean()) if len(known) else None


def _ends(interval: tuple[float, float]) -> list[float | None]:
    return [finite_or_none(end) for end in interval]


def _flat(row: Row) -> Row:
    flat = {key: value for key, value in row.items() if not key.endswith("ci")}
    for key in ("ci", "excess_ci"):
        flat[f"{key}_low"], flat[f"{key}_high"] = row[key]
    return flat


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
