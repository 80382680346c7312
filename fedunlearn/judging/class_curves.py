"""How fast and from how little an attack tells the forgotten class: shares by round, and by how much was forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fedunlearn.judging.columns import Row, attack_rows, column, details_of, ends, finite, mean, metrics_named
from fedunlearn.judging.groups import Group, cell_labels
from fedunlearn.judging.intervals import interval_of_share, wilson
from fedunlearn.judging.metric_rows import primary
from fedunlearn.names import CONTROLS

FRACTION = "fraction"
EXPECTED = "distribution-error"


def delay_rows(group: Group) -> Iterable[Row]:
    """Yield a curve per attack on a stream and branch: the share of trials that have detected by each round.

    `detected[t - 1]` is the share whose named classes are right from round t after the request on and stay so, of `n`
    trials; `ci` holds Wilson intervals. All trials were watched as far as the curve goes.
    """
    for (attack, observer, branch, finds), found in attack_rows(group).items():
        watched = [entry for entry in details_of(found, "detection") if "right" in entry]
        watched = [entry for entry in watched if max(entry["rounds"]) > 0]
        if finds != "forgotten-classes" or branch in CONTROLS or not watched:
            continue
        last = min(max(entry["rounds"]) for entry in watched)
        delays = np.array([np.inf if entry["delay"] is None else entry["delay"] for entry in watched])
        counts = [int((delays <= t).sum()) for t in range(1, last + 1)]
        yield {
            "group": group.label,
            "attack": attack,
            "observer": observer,
            "branch": branch,
            "n": len(watched),
            "failed": len(found) - len(watched),
            "censored": int(np.isinf(delays).sum()),
            "detected": [count / len(watched) for count in counts],
            "ci": [ends(wilson(count, len(watched))) for count in counts],
            "early_alarms": mean(column(metrics_named(found, "early-alarms"), "value")),
            "chance": mean(column(metrics_named(found, "detected"), "chance")),
        }


def partial_rows(groups: Sequence[Group], draws: np.random.Generator) -> list[Row]:
    """Return a point per attack, branch and share of the data that a request named, where the matrix varies it.

    Groups that differ in nothing but that share are one `series`. The metric is top-1, of several classes the exact
    set; where samples or clients go, which name no class, it is the distance of the class shares.
    """
    series: dict[str, list[Group]] = {}
    for group in groups:
        series.setdefault(json.dumps(_without_fraction(group.values), sort_keys=True), []).append(group)
    several = [members for members in series.values() if len({_fraction(group) for group in members}) > 1]
    labels = cell_labels([_without_fraction(members[0].values) for members in several])
    return [
        {"series": label or "all cells", "fraction": _fraction(group)} | point
        for label, members in zip(labels, several, strict=True)
        for group in sorted(members, key=_fraction)
        for point in _points(group, draws)
    ]


def _points(group: Group, draws: np.random.Generator) -> Iterable[Row]:
    for (attack, observer, branch, finds), found in attack_rows(group).items():
        if finds != "forgotten-classes" or branch in CONTROLS:
            continue
        name = primary(finds, found)
        metrics = metrics_named(found, name)
        if not len(finite(column(metrics, "value"))):
            name, metrics = EXPECTED, metrics_named(found, EXPECTED)
        known = finite(column(metrics, "value"))
        yield {
            "attack": attack,
            "observer": observer,
            "branch": branch,
            "metric": name,
            "value": mean(known),
            "n": len(known),
            "failed": len(found) - len(known),
            "ci": ends(interval_of_share(known, draws)),
            "chance": mean(column(metrics, "chance")),
            "control": mean(column(metrics, "control")),
        }


def _fraction(group: Group) -> float:
    """Return the share of the data that the first request named that it asks to forget."""
    requests = group.cells[0].get("scenario", {}).get("requests", [])
    return float(requests[0].get(FRACTION, 1.0)) if requests else 1.0


def _without_fraction(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return matrix values without those of the share, also inside tables that vary together."""
    return {
        key: _without_fraction(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key.rpartition(".")[2] != FRACTION
    }
