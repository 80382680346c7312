"""Charts over rounds: curves of shares, and the timeline of a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedunlearn.reporting.svg import WIDTH, drawing, element, join, ticks, tooltip

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
    for tick in ticks(int(low), int(high)):
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
    for round in ticks(1, last):
        parts.append(element("text", str(round), x=at(round), y=height - 4, class_="axis middle"))
    parts.append(element("text", "round", x=left - 14, y=height - 4, class_="axis end"))
    return drawing(WIDTH, height, parts, label)
