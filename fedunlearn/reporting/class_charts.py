"""Charts of attacks on the forgotten class: detected by which round, and from how little of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fedunlearn.reporting import formats
from fedunlearn.reporting.class_blocks import METRICS, SHARES
from fedunlearn.reporting.share_lines import LEFT, RIGHT, WIDTH, Chart, Point, share_lines
from fedunlearn.reporting.svg import ticks

Row = Mapping[str, Any]
T = TypeVar("T")
STYLES = ("s1", "s2", "s3", "s7", "s8", "s4", "s0", "s5", "s6")
MOST = 12  # charts of a kind; the others are in summary.json


def delay_charts(summary: Row | None) -> list[Chart]:
    """Return a chart per group and branch: the share of trials that have detected by each round after the request.

    Attacks whose curves are the same have one line together.
    """
    charts, found = [], summary["delays"] if summary else []
    attacks = [row["attack"] for row in found]
    for (group, branch), rows in _charted(found, "group"):
        merged: dict[tuple[float, ...], list[Row]] = {}
        for row in rows:
            merged.setdefault(tuple(row["detected"]), []).append(row)
        shown = _strongest(list(merged.values()), [sum(curve) / len(curve) for curve in merged])
        names = [", ".join(f"{row['attack']} ({formats.percent(row['early_alarms'])})" for row in own) for own in shown]
        drawn = _styles(attacks, [own[0]["attack"] for own in shown])
        last = max(len(own[0]["detected"]) for own in shown)
        rounds = ticks(1, last) if last > 1 else [1]
        at = lambda round, last=last: LEFT + round / last * (WIDTH - LEFT - RIGHT - 6)  # noqa: E731
        lines = [
            (style, [Point(at(0), 0.0, (None, None), "request"), *_detected(own[0], at)])
            for style, own in zip(drawn, shown, strict=True)
        ]
        chance = next((row["chance"] for row in rows if row["chance"] is not None), None)
        across = [(at(round), str(round)) for round in (0, *rounds)]
        chart = share_lines(lines, across, "rounds since the request", chance, f"Detection after {branch}", aside=False)
        trials = _span([row["n"] for own in shown for row in own])
        caption = f"n = {trials}; naming at random gets {formats.percent(chance)}."
        left_out = f" {len(merged) - len(shown)} weaker lines are in summary.json." if len(merged) > len(shown) else ""
        charts.append(Chart(_title(group, branch), chart, tuple(zip(names, drawn, strict=True)), caption + left_out))
    return charts


def partial_charts(summary: Row | None) -> list[Chart]:
    """Return a chart per series and branch: the score over the share of the data that the request names."""
    charts, found = [], summary["partial"] if summary else []
    attacks = [row["attack"] for row in found]
    for (series, branch), rows in _charted(found, "series"):
        by_attack: dict[str, list[Row]] = {}
        for row in (row for row in rows if row["value"] is not None):
            by_attack.setdefault(row["attack"], []).append(row)
        if not by_attack:
            continue
        own = list(by_attack.values())
        metric, chance = own[0][0]["metric"], own[0][0]["chance"]
        means = [sum(row["value"] for row in points) / len(points) for points in own]
        shown = _strongest(own, [-mean for mean in means] if metric == SHARES else means)
        fractions = sorted({row["fraction"] for points in own for row in points})
        slot = (WIDTH - LEFT - RIGHT) / len(fractions)
        places = {fraction: LEFT + slot * (n + 0.5) for n, fraction in enumerate(fractions)}
        names = [points[0]["attack"] for points in shown]
        drawn = _styles(attacks, names)
        lines = [
            (style, [_point(row, places[row["fraction"]]) for row in points])
            for style, points in zip(drawn, shown, strict=True)
        ]
        across = [(x, formats.percent(fraction)) for fraction, x in places.items()]
        chart = share_lines(
            lines, across, "share that is forgotten", chance, f"Partial forgetting, {branch}", aside=True
        )
        trials = _span([row["n"] for points in shown for row in points])
        what = f"{METRICS[metric][0].upper()}{METRICS[metric][1:]}"
        caption = f"{what}; n = {trials}, chance {formats.amount(metric, chance)}."
        charts.append(Chart(_title(series, branch), chart, tuple(zip(names, drawn, strict=True)), caption))
    return charts


def _charted(rows: Sequence[Row], key: str) -> list[tuple[tuple[str, str], list[Row]]]:
    """Return the rows by (group or series, branch), as many as are drawn: of every group its first branches."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row[key], row["branch"]), []).append(row)
    keys = list(found)
    place = {own: [other for other in keys if other[0] == own[0]].index(own) for own in keys}
    chosen = sorted(keys, key=lambda own: place[own])[:MOST]
    return [(own, found[own]) for own in keys if own in chosen]


def _strongest(entries: Sequence[T], strength: Sequence[float]) -> list[T]:
    """Return as many as there are styles, the strongest, in their own order."""
    best = sorted(range(len(entries)), key=lambda n: -strength[n])[: len(STYLES)]
    return [entries[n] for n in sorted(best)]


def _detected(row: Row, at: Any) -> list[Point]:
    points = []
    for round, (share, interval) in enumerate(zip(row["detected"], row["ci"], strict=True), start=1):
        words = f"{row['attack']}, round {round}: {formats.percent(share)} ({formats.span('detected', interval)})"
        points.append(Point(at(round), share, (None, None), f"{words}, n = {row['n']}"))
    return points


def _point(row: Row, x: float) -> Point:
    metric = row["metric"]
    words = f"{row['attack']}, {formats.percent(row['fraction'])}: {formats.amount(metric, row['value'])}"
    return Point(x, row["value"], row["ci"], f"{words} ({formats.span(metric, row['ci'])}), n = {row['n']}")


def _styles(attacks: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Return a style for each of those shown: the same in every chart where there are enough styles for all attacks."""
    every = list(dict.fromkeys(attacks))
    return [STYLES[(every if len(every) <= len(STYLES) else shown).index(name)] for name in shown]


def _title(group: str, branch: str) -> str:
    return f"after {branch}" if group == "all cells" else f"{group}, after {branch}"


def _span(values: Sequence[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"
