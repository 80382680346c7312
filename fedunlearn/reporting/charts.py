"""Charts of many values at once: a table of shades, and estimates with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fedunlearn.reporting.svg import WIDTH, drawing, element, tooltip


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


def forest(estimates: Sequence[Estimate], label: str, *, percent: bool = True) -> Markup:
    """Return a dot with its interval per estimate, and a tick at chance; the axis in percent or from 0 to 1."""
    row = 22.0
    left = 16 + 6.6 * max(len(estimate.name) for estimate in estimates)
    right, height = 110.0, 30 + row * len(estimates)
    width = max(WIDTH, left + right + 260)
    at = lambda share: left + share * (width - left - right)  # noqa: E731
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(element("line", x1=at(share), x2=at(share), y1=4.0, y2=height - 20, class_="rule"))
        tick = f"{share:.0%}" if percent else f"{share:g}"
        parts.append(element("text", tick, x=at(share), y=height - 4, class_="axis middle"))
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
