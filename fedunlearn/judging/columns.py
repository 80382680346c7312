"""Attack rows of many cells as columns of numbers; NaN stands for what is not known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fedunlearn.judging.groups import Group
from fedunlearn.judging.metric import finite_or_none, number
from fedunlearn.judging.references import labels_of

Row = dict[str, Any]
Key = tuple[str, str, str, str]  # what an attack is called, observer, branch, what it looks for
NOTHING: Row = {"value": None, "chance": None, "baseline": None, "control": None, "oracle": None}


def attack_rows(group: Group) -> dict[Key, list[Row]]:
    """Return the attack rows of all cells by what the attack is called, observer, branch and what it looks for."""
    rows: dict[Key, list[Row]] = {}
    for results in group.cells:
        for label, row in zip(labels_of(results["attacks"]), results["attacks"], strict=True):
            rows.setdefault((label, row["observer"], row["branch"], row["finds"]), []).append(row)
    return rows


def metrics_named(found: Iterable[Row], name: str) -> list[Row]:
    """Return a metric of every row that has it, and nothing known of it for rows that gave no answer at all."""
    return [row["metrics"].get(name, NOTHING) for row in found if name in row["metrics"] or row.get("status") != "done"]


def column(metrics: Sequence[Row], name: str) -> np.ndarray:
    """Return an entry of every metric, (n,)."""
    return np.array([number(metric[name]) for metric in metrics])


def details_of(found: Iterable[Row], key: str) -> list[Any]:
    """Return what the rows' details say under a key, rows that say nothing left out."""
    said = [(row.get("details") or {}).get(key) for row in found]
    return [entry for entry in said if entry is not None]


def finite(values: np.ndarray) -> np.ndarray:
    """Return the known values."""
    return values[np.isfinite(values)]


def mean(values: np.ndarray) -> float | None:
    """Return the mean of the known values, None of none."""
    known = finite(values)
    return float(known.mean()) if len(known) else None


def ends(interval: tuple[float, float]) -> list[float | None]:
    """Return an interval for JSON."""
    return [finite_or_none(end) for end in interval]
