"""The charts of the report: lines, bars, heat maps, a timeline. Plain SVG, no script."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fedunlearn.reporting.svg import drawing, element, join, tooltip

WIDTH = 640.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 12.0, 14.0, 34.0


@dataclass(frozen=True)
class Line:
    """A curve: its name, a style class (`s0`..`s6`), and (x, y) points with y a share in [0, 1]."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]


def line_chart(lines: Sequence[Line], marks: Sequence[tuple[float, str]], x_name: str, label: str) -> Markup:
    """Return curves of shares over rounds, with labelled vertical marks."""
    height = 230.0
    xs = [x for line in lines for x, _ in line.points]
    low, high = min(xs), max(max(xs), min(xs) + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        return across, height - BOTTOM - y * (height - TOP - BOTTOM)

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = at(low, share)[1]
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="rule"))
        parts.append(element("text", f"{share:.0%}", x=LEFT - 6, y=y + 4, class_="axis end"))
    step = max(1, round((high - low) / 12))
    for tick in range(int(low), int(high) + 1, step):
        parts.append(element("text", str(tick), x=at(tick, 0)[0], y=height - BOTTOM + 16, class_="axis middle"))
    parts.append(element("text", x_name, x=(LEFT + WIDTH - RIGHT) / 2, y=height - 3, class_="axis middle"))
    for x, name in marks:
        across = at(x, 0)[0]
        right = across > WIDTH * 0.75
        parts.append(element("line", x1=across, x2=across, y1=TOP, y2=height - BOTTOM, class_="mark"))
        place = {"x": across + (-5 if right else 5), "y": height - BOTTOM - 6}
        parts.append(element("text", name, **place, class_=f"note {'end' if right else ''}"))
    for line in lines:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line.points))
        dots = [element("circle", cx=at(*line.points[-1])[0], cy=at(*line.points[-1])[1], r=3, class_="dot")]
        curve = element("polyline", points=path, class_="curve")
        parts.append(element("g", join([tooltip(line.name), curve, *dots]), class_=line.style))
    return drawing(WIDTH, height, parts, label)


def class_bars(
    scores: Sequence[float], names: Sequence[str], true: Collection[int], limits: tuple[float, float], label: str
) -> Markup:
    """Return one bar per class; the bars of `true` classes are filled, the others are pale.

    Args:
        scores: one per class.
        names: what stands below each bar.
        true: the classes to mark.
        limits: the lowest and highest value of the axis, the same for charts that are compared.
        label: for screen readers.
    """
    width, height = WIDTH / 2, 150.0
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = (height - 34) / ((high - low) or 1)
    zero = 12 + high * scale
    slot = (width - 8) / len(scores)
    parts = []
    for k, score in enumerate(scores):
        x = 4 + k * slot
        top, tall = (zero - score * scale, score * scale) if score >= 0 else (zero, -score * scale)
        bar = {"x": x + 0.12 * slot, "y": float(top), "width": 0.76 * slot, "height": max(float(tall), 0.8), "rx": 2}
        words = tooltip(f"{names[k]}: {score:.4g}")
        parts.append(element("rect", words, **bar, class_="bar true" if k in true else "bar"))
        if len(scores) <= 20 or k in true:
            style = "axis middle strong" if k in true else "axis middle"
            parts.append(element("text", names[k], x=x + slot / 2, y=height - 4, class_=style))
    parts.append(element("line", x1=4.0, x2=width - 4, y1=zero, y2=zero, class_="zero"))
    return drawing(width, height, parts, label)


def paired_bars(true: Sequence[int], found: Sequence[int], names: Sequence[str], label: str) -> Markup:
    """Return two bars per class, the true number beside the one found; a wrong pair is marked."""
    height, slot = 160.0, (WIDTH - 16) / len(true)
    scale = (height - 44) / (max(*true, *found, 1))
    floor = height - 20
    parts = [element("line", x1=8.0, x2=WIDTH - 8, y1=floor, y2=floor, class_="zero")]
    for k, (right, claimed) in enumerate(zip(true, found, strict=True)):
        x = 8 + k * slot
        words = tooltip(f"{names[k]}: {right} in the batch, {claimed} found")
        for place, count, style in ((0.14, right, "bar original"), (0.51, claimed, "bar found")):
            bar = {"x": x + place * slot, "y": floor - count * scale, "width": 0.35 * slot, "height": count * scale}
            parts.append(element("rect", words, **bar, class_=style))
            if count and len(true) <= 20:
                above = {"x": x + (place + 0.175) * slot, "y": floor - count * scale - 4}
                parts.append(element("text", str(count), **above, class_="axis middle"))
        if len(true) <= 20:
            mark = "" if right == claimed else " \u2717"
            style = "axis middle strong" if mark else "axis middle"
            parts.append(element("text", names[k] + mark, x=x + slot / 2, y=height - 4, class_=style))
    return drawing(WIDTH, height, parts, label)


def heat_map(
    values: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], label: str, *, unit: str = ""
) -> Markup:
    """Return a table of shades, the highest value darkest; numbers are written in when there is room.

    Args:
        values: (rows, columns), not negative.
        rows, columns: their names.
        label: for screen readers.
        unit: `%` shows shares as percent; otherwise the numbers as they are.
    """
    table = np.array(values, dtype=float)
    left = 12 + 7.0 * max(len(name) for name in rows)
    tile = min(44.0, (WIDTH - left) / len(columns))
    tall = 22.0 if len(rows) <= 30 else 10.0
    peak = np.nanmax(table) if np.isfinite(table).any() else 1
    parts = []
    for y, name in enumerate(rows):
        if len(rows) <= 30:
            parts.append(element("text", name, x=left - 8, y=20 + y * tall + tall / 2 + 4, class_="axis end"))
        for x in range(len(columns)):
            value = table[y, x]
            shown = "" if np.isnan(value) else f"{100 * value:.0f}" if unit == "%" else f"{value:g}"
            shade = 0.0 if np.isnan(value) else float(value / (peak or 1))
            box = {"x": left + x * tile, "y": 20 + y * tall, "width": tile - 1.5, "height": tall - 1.5, "rx": 2}
            words = tooltip(f"{name}, {columns[x]}: {shown}{unit}")
            parts.append(element("rect", words, **box, class_="tile", style=f"fill-opacity:{0.04 + 0.96 * shade:.3f}"))
            if tile >= 24 and tall >= 20:
                tone = "tile-text light" if shade > 0.55 else "tile-text"
                place = {"x": left + x * tile + tile / 2, "y": 20 + y * tall + tall / 2 + 3}
                parts.append(element("text", shown, **place, class_=tone))
    if len(columns) <= 30:
        for x, name in enumerate(columns):
            parts.append(element("text", name, x=left + x * tile + tile / 2, y=13.0, class_="axis middle"))
    return drawing(left + tile * len(columns) + 2, 24 + tall * len(rows), parts, label)


@dataclass(frozen=True)
class Estimate:
    """A share in [0, 1] with its interval and what chance gives, each None when unknown."""

    name: str
    value: float
    ci: Sequence[float | None]
    chance: float | None
    words: str


def forest(estimates: Sequence[Estimate], label: str) -> Markup:
    """Return a dot with its interval per estimate, and a tick at chance."""
    row = 22.0
    left = 16 + 6.6 * max(len(estimate.name) for estimate in estimates)
    right, height = 110.0, 30 + row * len(estimates)
    width = max(WIDTH, left + right + 260)
    at = lambda share: left + share * (width - left - right)  # noqa: E731
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(element("line", x1=at(share), x2=at(share), y1=4.0, y2=height - 20, class_="rule"))
        parts.append(element("text", f"{share:.0%}", x=at(share), y=height - 4, class_="axis middle"))
    for number, estimate in enumerate(estimates):
        y = 16 + number * row
        parts.append(element("text", estimate.name, x=left - 12, y=y + 4, class_="axis end"))
        parts.append(element("text", estimate.words, x=width - right + 12, y=y + 4, class_="axis strong"))
        if None not in estimate.ci:
            low, high = (at(end) for end in estimate.ci)
            parts.append(element("line", x1=low, x2=high, y1=y, y2=y, class_="interval"))
        if estimate.chance is not None:
            x = at(estimate.chance)
            words = tooltip(f"chance {estimate.chance:.1%}")
            parts.append(element("line", words, x1=x, x2=x, y1=y - 7, y2=y + 7, class_="chance"))
        parts.append(element("circle", tooltip(estimate.words), cx=at(estimate.value), cy=y, r=4.5, class_="estimate"))
    return drawing(width, height, parts, label)


@dataclass(frozen=True)
class Lane:
    """A row of the timeline: its name, its rounds, those that were observed, and a style class."""

    name: str
    rounds: Sequence[int]
    observed: Collection[int]
    style: str


def timeline(lanes: Sequence[Lane], requests: Sequence[tuple[int, str]], label: str) -> Markup:
    """Return one lane of dots per branch over the rounds, with the requests as vertical marks between rounds."""
    left, row = 150.0, 26.0
    last = max(max(lane.rounds) for lane in lanes)
    step = (WIDTH - left - 24) / max(last, 2)
    at = lambda round: left + (round - 0.5) * step  # noqa: E731
    height = 44 + row * len(lanes)
    parts = []
    for round, words in requests:
        x = at(round + 0.5)
        end = x > WIDTH * 0.65
        parts.append(element("line", x1=x, x2=x, y1=18.0, y2=height - 22, class_="mark"))
        parts.append(
            element("text", words, x=x + (4 if end else -4), y=12.0, class_=f"note {'end' if end else 'middle'}")
        )
    for number, lane in enumerate(lanes):
        y = 34 + number * row
        parts.append(element("text", lane.name, x=left - 14, y=y + 4, class_="axis end"))
        first, final = at(min(lane.rounds)), at(max(lane.rounds))
        dots = [element("line", x1=first, x2=final, y1=y, y2=y, class_="curve")]
        for round in lane.rounds if last <= 60 else lane.observed:
            seen = round in lane.observed
            words = tooltip(f"{lane.name}, round {round}{': observed' if seen else ''}")
            dots.append(
                element("circle", words, cx=at(round), cy=y, r=5.5 if seen else 3.2, class_="seen" if seen else "dot")
            )
        parts.append(element("g", join(dots), class_=lane.style))
    for round in range(1, last + 1, max(1, last // 12)):
        parts.append(element("text", str(round), x=at(round), y=height - 4, class_="axis middle"))
    parts.append(element("text", "round", x=left - 14, y=height - 4, class_="axis end"))
    return drawing(WIDTH, height, parts, label)


def histograms(members: np.ndarray, others: np.ndarray, label: str) -> Markup:
    """Return the scores of members and of others as two overlaid outlines, equal areas."""
    width, height = WIDTH / 2, 110.0
    edges = np.histogram_bin_edges(np.concatenate([members, others]), bins=24)
    shares = [np.histogram(values, edges)[0] / len(values) for values in (members, others)]
    peak = max(share.max() for share in shares)
    floor, slot = height - 6, (width - 8) / 24
    parts = [element("line", x1=4.0, x2=width - 4, y1=floor, y2=floor, class_="zero")]
    for share, style, name in zip(shares, ("s0", "s1"), ("forgotten samples", "unseen samples"), strict=True):
        tops = [
            (4 + (k + side) * slot, floor - s / peak * (height - 14)) for k, s in enumerate(share) for side in (0, 1)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(4.0, floor), *tops, (width - 4, floor)])
        parts.append(element("polygon", tooltip(name), points=path, class_=f"area {style}"))
    return drawing(width, height, parts, label)
