"""A measure of an attack on a branch as one figure: of a single cell its own, of several their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedunlearn.judging.columns import NOTHING, Row, column, ends, finite, mean
from fedunlearn.judging.groups import Group
from fedunlearn.judging.intervals import bootstrap_mean, wilson
from fedunlearn.judging.metric import is_share
from fedunlearn.judging.pooling import seeds_of
from fedunlearn.judging.references import labels_of

BESIDE = ("baseline", "control", "oracle")  # what a metric is compared with
UNKNOWN: Row = {"value": None, "ci": [None, None], "n": 0, "failed": 0} | dict.fromkeys(BESIDE)
SEEDS = "seeds"  # under which key a row tells the seeds of its cell


def seeded_rows(group: Group, finds: str) -> dict[tuple[str, str, str], list[Row]]:
    """Return the rows of one kind by branch, attack and observer, each with its cell's seeds beside it."""
    rows: dict[tuple[str, str, str], list[Row]] = {}
    for results in group.cells:
        seeds = seeds_of(results)
        for label, row in zip(labels_of(results["attacks"]), results["attacks"], strict=True):
            if row["finds"] == finds:
                key = (row["branch"], label, row["observer"])
                rows.setdefault(key, []).append({**row, SEEDS: seeds})
    return rows


def names_of(keys: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """Return what each (branch, attack, observer) is called: the attack, with the observer where several have it."""
    observers: dict[str, set[str]] = {}
    for _, attack, observer in keys:
        observers.setdefault(attack, set()).add(observer)
    return {key: f"{key[1]}, {key[2]}" if len(observers[key[1]]) > 1 else key[1] for key in keys}


def figures(found: Sequence[Row], names: Sequence[str], cells: int, draws: np.random.Generator) -> dict[str, Row]:
    """Return by metric `value`, `ci`, `n`, `failed`, `baseline`, `control` and `oracle`.

    Of a single cell `n` counts what the judge counted, images or weights. Of several cells it counts those that gave
    an answer, and `failed` the others. Cells of one seed have a training in common, so intervals draw seeds again,
    not cells; where every value is 0 or 1 they are Wilson's.

    Args:
        found: the attack's rows on one branch, from `seeded_rows`.
        names: of the metrics.
        cells: how many cells there are in the group.
        draws: for the bootstrap.
    """
    seeds = [row[SEEDS] for row in found]
    return {name: figure([row["metrics"].get(name, NOTHING) for row in found], seeds, name, cells, draws)
            for name in names}  # fmt: skip


def figure(
    metrics: Sequence[Mapping[str, Any]], seeds: Sequence[str], name: str, cells: int, draws: np.random.Generator
) -> Row:
    """Return the entry of one metric; see `figures`."""
    if not metrics:
        return dict(UNKNOWN)
    if cells == 1:
        known: dict[str, Any] = {key: metrics[0][key] for key in UNKNOWN if key in metrics[0]}
        return UNKNOWN | known | {"failed": int(metrics[0]["value"] is None)}
    values = column([dict(metric) for metric in metrics], "value")
    known_values = finite(values)
    if len(known_values) and is_share(name) and np.isin(known_values, (0, 1)).all():
        interval = wilson(int(known_values.sum()), len(known_values))
    else:
        interval = bootstrap_mean(_means_by_seed(values, seeds), draws)
    return {
        "value": mean(values),
        "ci": ends(interval),
        "n": len(known_values),
        "failed": len(values) - len(known_values),
        **{key: mean(column([dict(metric) for metric in metrics], key)) for key in BESIDE},
    }


def _means_by_seed(values: np.ndarray, seeds: Sequence[str]) -> np.ndarray:
    """Return the mean of the known values of each seed, of those that have any."""
    own = [finite(values[[seed == other for other in seeds]]) for seed in dict.fromkeys(seeds)]
    return np.array([found.mean() for found in own if len(found)])
