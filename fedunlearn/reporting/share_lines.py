"""Lines of shares over named places, with intervals: what charts over rounds and over fractions have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedunlearn.reporting.svg import drawing, element, join, tooltip

WIDTH, HEIGHT = 480.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 14.0, 12.0, 40.0
FLOOR = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Point:
    """A value in [0, 1] at a place on the horizontal axis, with its interval and words for a resting pointer."""

    x: float
    y: float
    ci: Sequence[float | None]
    words: str


@dataclass(frozen=True)
class Chart:
    """A drawing: what it is of, the names and styles of its lines, and a caption."""

    title: str
    drawing: Markup
    legend: tuple[tuple[str, str], ...]
    caption: str


def _up(value: float) -> float:
    return FLOOR - value * (FLOOR - TOP)


def share_lines(
    lines: Sequence[tuple[str, Sequence[Point]]],
    across: Sequence[tuple[float, str]],
    x_name: str,
    chance: float | None,
    label: str,
    *,
    aside: bool,
) -> Markup:
    """Return lines of shares over the named places; `aside` moves them apart, so that no interval hides another.

    Args:
        lines: style and points of each.
        across: where the horizontal axis has which name.
        x_name: what it shows.
        chance: where the dashed line goes.
        label: for screen readers.
        aside: whether lines are moved apart.
    """
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=_up(tick), y2=_up(tick), class_="rule"))
        parts.append(element("text", f"{tick:.0%}", x=LEFT - 6, y=_up(tick) + 4, class_="axis end"))
    for x, name in across:
        parts.append(element("text", name, x=x, y=FLOOR + 16, class_="axis middle"))
    parts.append(element("text", x_name, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 5, class_="axis middle"))
    if chance is not None:
        words = tooltip(f"chance {chance:.1%}")
        parts.append(element("line", words, x1=LEFT, x2=WIDTH - RIGHT, y1=_up(chance), y2=_up(chance), class_="mark"))
    step = min(8.0, 0.7 * (WIDTH - LEFT - RIGHT) / len(across) / len(lines)) if aside else 0.0
    for number, (style, points) in enumerate(lines):
        moved = (number - (len(lines) - 1) / 2) * step
        path = " ".join(f"{point.x + moved:.1f},{_up(point.y):.1f}" for point in points)
        marks = [element("polyline", points=path, class_="curve thin")]
        for point in points:
            x = point.x + moved
            if None not in point.ci:
                low, high = (_up(end) for end in point.ci if end is not None)
                marks.append(element("line", x1=x, x2=x, y1=low, y2=high, class_="whisker"))
            marks.append(element("circle", tooltip(point.words), cx=x, cy=_up(point.y), r=3.4, class_="dot"))
        parts.append(element("g", join(marks), class_=style))
    return drawing(WIDTH, HEIGHT, parts, label)
