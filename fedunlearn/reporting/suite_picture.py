"""The picture of a suite: what each method forgot against what it kept, the size of a dot being its cost."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from fedunlearn.names import TRUNK
from fedunlearn.reporting.label_places import Box, Place, Spot, places
from fedunlearn.reporting.stretched_axis import Axis
from fedunlearn.reporting.suite import Method, Suite
from fedunlearn.reporting.svg import document, drawing, element, join, tooltip
from fedunlearn.reporting.templates.style import COLOURS, DRAWINGS

WIDTH, HEIGHT = 920.0, 560.0
AREA = Box(70.0, 16.0, WIDTH - 18, HEIGHT - 92)  # what the axes span
LETTER, STRONG_LETTER, LINE = 7.1, 7.9, 13.0  # pixels of a name's letters
RINGED, PLAIN = 5.0, 5.0  # radii: of a method without client work, of one whose cost is not known
SMALLEST, LARGEST = 3.2, 11.0  # radii of a method that costs nothing, and as much as retraining or more
X = {"backdoor_success": "backdoor: share of pictures with the trigger that it still fools",
     "forget_accuracy": "accuracy on the forgotten samples"}  # fmt: skip
MARKS = {TRUNK: "s0", "retrain": "s3", "retrain-other-init": "s4", "control": "s5"}


@dataclass(frozen=True)
class Dot:
    """A method in the picture: where, and how large (None: no client work)."""

    method: Method
    x: float
    y: float
    radius: float | None


def picture(suite: Suite) -> Markup:
    """Return the drawing for the report."""
    return drawing(WIDTH, HEIGHT, _parts(suite), _label(suite))


def picture_file(suite: Suite) -> str:
    """Return the same as an SVG file of its own, its colours and a heading included."""
    return document(WIDTH, HEIGHT, _parts(suite), suite.title, COLOURS + DRAWINGS, _label(suite))


def write_pictures(run: Path, found: Sequence[Suite]) -> None:
    """Write `suite.svg`, where there are several suites one named after each; atomic."""
    for suite in found:
        name = "suite" if len(found) == 1 else f"suite-{re.sub('[^a-z0-9]+', '-', suite.title.lower()).strip('-')}"
        temporary = run / f"{name}.svg.part"
        temporary.write_text(picture_file(suite), encoding="utf-8")
        os.replace(temporary, run / f"{name}.svg")


def _label(suite: Suite) -> str:
    return f"{suite.title}: what each method forgot and kept"


def horizontal(suite: Suite) -> str:
    """Return what the horizontal axis shows: the backdoor where one was planted."""
    return next((name for name in X if name in suite.measures), "forget_accuracy")


def _parts(suite: Suite) -> list[Markup]:
    measure = horizontal(suite)
    shown = [row for row in suite.rows if row.mean(measure) is not None and row.mean("retain_accuracy") is not None]
    across, up = _axes(suite, [_values(row, measure) for row in shown])
    dots = [_dot(row, suite, measure, across, up) for row in shown]
    spots = [_spot(dot, suite) for dot in dots]
    named = places(spots, Box(AREA.left + 2, AREA.top - 12, AREA.right + 14, AREA.bottom - 2))
    by_size = sorted(dots, key=lambda dot: (not dot.method.reference, -_reach(dot)))  # the small ones in front
    return [
        *_frame(across, up, X[measure]),
        *_crosshair(suite, across, up),
        *(_leader(dot, place) for dot, place in zip(dots, named, strict=True) if place.lined),
        *(_mark(dot, suite) for dot in by_size),
        *(_name(dot, place, suite) for dot, place in zip(dots, named, strict=True)),
        *_legend(suite),
    ]


def _values(row: Method, measure: str) -> tuple[float, float]:
    return row.figures[measure].mean, row.figures["retain_accuracy"].mean


def _axes(suite: Suite, points: list[tuple[float, float]]) -> tuple[Axis, Axis]:
    """Return the axes, stretched around the retrained model (without one, around the best of each)."""
    xs, ys = zip(*points, strict=True) if points else ((0.0, 1.0), (0.0, 1.0))
    aim = _aim(suite) or (min(xs), max(ys))
    unit = max(suite.floor or 0.01, 0.005)
    return (
        Axis(aim[0], unit, min(xs) - unit / 2, max(xs), AREA.left, AREA.right - 46),
        Axis(aim[1], unit, min(ys), max(ys) + unit / 2, AREA.bottom - 16, AREA.top + 8),
    )


def _aim(suite: Suite) -> tuple[float, float] | None:
    """Return where the retrained model is."""
    row, measure = suite.reference("retrain"), horizontal(suite)
    return None if row is None or not {measure, "retain_accuracy"} <= set(row.figures) else _values(row, measure)


def _dot(row: Method, suite: Suite, measure: str, across: Axis, up: Axis) -> Dot:
    x, y = _values(row, measure)
    return Dot(row, across.at(x), up.at(y), _radius(row, suite))


def _radius(row: Method, suite: Suite) -> float | None:
    """Return a radius whose square grows with the client work, as a share of retraining's."""
    own, retrained = row.mean("client_seconds"), suite.reference("retrain")
    whole = None if retrained is None else retrained.mean("client_seconds")
    if own is None or row.reference:
        return PLAIN
    if own == 0:
        return None
    return PLAIN if not whole else _radius_of(own / whole)


def _radius_of(share: float) -> float:
    return SMALLEST + (LARGEST - SMALLEST) * math.sqrt(min(share, 1))


def _reach(dot: Dot) -> float:
    return RINGED if dot.radius is None else dot.radius


def _strong(dot: Dot, suite: Suite) -> bool:
    return dot.method.reference or suite.within_floor(dot.method)


def _spot(dot: Dot, suite: Suite) -> Spot:
    letter = STRONG_LETTER if _strong(dot, suite) else LETTER
    return Spot(dot.x, dot.y, _reach(dot), letter * len(dot.method.name) + 5, LINE, dot.method.reference)


def _frame(across: Axis, up: Axis, x_name: str) -> list[Markup]:
    parts = []
    for value in up.ticks(26):
        y = up.at(value)
        parts.append(element("line", x1=AREA.left, x2=AREA.right, y1=y, y2=y, class_="rule"))
        parts.append(element("text", _percent(value), x=AREA.left - 8, y=y + 4, class_="axis end"))
    for value in across.ticks(44):
        x = across.at(value)
        parts.append(element("line", x1=x, x2=x, y1=AREA.top, y2=AREA.bottom, class_="rule"))
        parts.append(element("text", _percent(value), x=x, y=AREA.bottom + 17, class_="axis middle"))
    parts.append(element("text", x_name, x=AREA.left, y=AREA.bottom + 36, class_="axis"))
    stretched = "both axes are stretched around the retrained model"
    parts.append(element("text", stretched, x=AREA.right + 14, y=AREA.bottom + 36, class_="axis end"))
    turned = f"rotate(-90 14 {(AREA.top + AREA.bottom) / 2:g})"
    place = {"x": 14.0, "y": (AREA.top + AREA.bottom) / 2, "transform": turned}
    parts.append(element("text", "accuracy on the retained samples", **place, class_="axis middle"))
    return parts


def _percent(value: float) -> str:
    return f"{round(100 * value, 2):g}%"


def _crosshair(suite: Suite, across: Axis, up: Axis) -> list[Markup]:
    """Return the lines that meet where retraining is: what methods aim at."""
    aim = _aim(suite)
    if aim is None:
        return []
    x, y = across.at(aim[0]), up.at(aim[1])
    return [
        element("line", x1=x, x2=x, y1=AREA.top, y2=AREA.bottom, class_="aim"),
        element("line", x1=AREA.left, x2=AREA.right, y1=y, y2=y, class_="aim"),
    ]


def _leader(dot: Dot, place: Place) -> Markup:
    return element("line", x1=dot.x, y1=dot.y, x2=place.x, y2=place.y, class_="leader")


def _mark(dot: Dot, suite: Suite) -> Markup:
    words = tooltip(_words(dot.method))
    if dot.method.reference:
        corners = ((0, -7), (7, 0), (0, 7), (-7, 0))
        path = " ".join(f"{dot.x + dx:.1f},{dot.y + dy:.1f}" for dx, dy in corners)
        return element("polygon", words, points=path, class_=f"dot {MARKS[dot.method.name]}")
    style = "s2" if suite.within_floor(dot.method) else "s1"
    if dot.radius is None:
        return element("circle", words, cx=dot.x, cy=dot.y, r=RINGED, class_=f"ring {style}")
    return element("circle", words, cx=dot.x, cy=dot.y, r=dot.radius, class_=f"bubble {style}")


def _words(method: Method) -> str:
    shown = {"forget_accuracy": "forgotten", "backdoor_success": "backdoor", "retain_accuracy": "retained"}
    known = [f"{word} {100 * method.figures[key].mean:.1f}%" for key, word in shown.items() if key in method.figures]
    return f"{method.name}: {', '.join(known)}"


def _name(dot: Dot, place: Place, suite: Suite) -> Markup:
    middle = (place.box.left + place.box.right) / 2
    style = f"name middle{' strong' if _strong(dot, suite) else ''}"
    return element("text", dot.method.name, x=middle, y=place.box.bottom - 3, class_=style)


def _legend(suite: Suite) -> list[Markup]:
    """Return one line below the axes: what the signs are, and how large a dot is for which cost."""
    y, x = HEIGHT - 14, AREA.left
    entries: list[tuple[Markup, str, float]] = []
    at = lambda radius: {"cx": 0.0, "cy": -4.0, "r": radius}  # noqa: E731
    diamond = element("polygon", points="0,-11 7,-4 0,3 -7,-4", class_="dot s3")
    entries.append((diamond, "reference", 7.0))
    if any(suite.within_floor(method) for method in suite.methods):
        entries.append((element("circle", **at(PLAIN), class_="bubble s2"), "as close as retraining to itself", PLAIN))
    if "client_seconds" in suite.measures:
        entries.append((element("circle", **at(RINGED), class_="ring s1"), "server alone", RINGED))
        for share in (0.01, 0.1, 1.0):
            radius = _radius_of(share)
            words = f"{share:.0%}" if share < 1 else "100% of retraining's client work, or more"
            entries.append((element("circle", **at(radius), class_="bubble s1"), words, radius))
    parts = []
    for sign, words, radius in entries:
        x += radius
        parts.append(element("g", join([sign]), transform=f"translate({x:g} {y:g})"))
        parts.append(element("text", words, x=x + radius + 5, y=y, class_="axis"))
        x += radius + 5 + 6.0 * len(words) + 14
    return parts
