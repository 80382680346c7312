"""Two bars per line, in one panel or several beside each other: erased against retained, forgotten against others."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from fedunlearn.reporting import formats
from fedunlearn.reporting.class_blocks import Figure
from fedunlearn.reporting.svg import document, drawing, element, tooltip
from fedunlearn.reporting.templates.style import COLOURS, DRAWINGS

ROW, BAR, HEADING, TOP, FOOT = 34.0, 12.0, 26.0, 54.0, 22.0  # pixels: a line, a bar, a heading, above, the axis
LETTER, MARGIN, FIGURE = 6.4, 14.0, 46.0  # of a name; at the edges; room for a figure behind a bar
PANEL, LONE = 190.0, 430.0  # width of one of several panels, and of a single one
ROUND = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
STYLES = ("bar true", "bar found")
NARROWEST = 520.0  # of a file, for its caption


@dataclass(frozen=True)
class Bars:
    """A line: its name, a heading above it where one begins, and by panel the two figures."""

    name: str
    pairs: tuple[tuple[Figure, Figure], ...]
    heading: str = ""


@dataclass(frozen=True)
class PairChart:
    """A chart of shares.

    Attributes:
        what, of: what is shown, and of which model or attack; in the file's name where there are several.
        panels: by panel the metric's name and a title; what is no percentage is drawn as large as there is room.
        keys: what the first and the second bar are of.
        lines: one per model or branch.
        mark: a share that is marked in every panel, and what it is; None for none.
        caption: says n, and how to read it.
    """

    what: str
    of: str
    panels: tuple[tuple[str, str], ...]
    keys: tuple[str, str]
    lines: tuple[Bars, ...]
    mark: tuple[float, str] | None
    caption: str

    @property
    def label(self) -> str:
        """What screen readers say, and what stands above a file."""
        return f"{self.what}, {self.of}"


def pair_bars(chart: PairChart) -> Markup:
    """Return the drawing for the report."""
    width, height = _size(chart)
    return drawing(width, height, _parts(chart), chart.label)


def pair_bars_file(chart: PairChart) -> str:
    """Return the same as an SVG file of its own, with heading and caption."""
    width, height = _size(chart)
    width = max(width, NARROWEST)
    lines = textwrap.wrap(chart.caption, int((width - 2 * MARGIN) / 5.9))
    below = [
        element("text", line, x=MARGIN, y=height + 14 + 16 * number, class_="axis") for number, line in enumerate(lines)
    ]
    whole = [*_parts(chart), *below]
    return document(width, height + 20 + 16 * len(lines), whole, chart.label, COLOURS + DRAWINGS, chart.label)


def write_pair_bars(run: Path, name: str, charts: Sequence[PairChart]) -> None:
    """Write `name`.svg, of several charts one named after each; atomic."""
    for chart in charts:
        path = run / (f"{name}-{re.sub('[^a-z0-9]+', '-', chart.of.lower())}.svg" if len(charts) > 1 else f"{name}.svg")
        temporary = path.with_suffix(".svg.part")
        temporary.write_text(pair_bars_file(chart), encoding="utf-8")
        temporary.replace(path)


def counted(figures: Sequence[Figure]) -> str:
    """Return the numbers of trials behind figures: one, or from the least to the most."""
    counts = sorted({figure.n for figure in figures if figure.value is not None})
    return formats.DASH if not counts else f"{counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "")


def peak(chart: PairChart, panel: int) -> float:
    """Return what the panel's width stands for: 1 of percentages, of small scores a round number above them."""
    if formats.amount(chart.panels[panel][0], 1.0).endswith("%"):
        return 1.0
    figures = [figure for line in chart.lines for figure in line.pairs[panel]]
    most = max((end for figure in figures for end in (figure.value, figure.ci[1]) if end is not None), default=1.0)
    return next((size for size in ROUND if size >= most), 1.0)


def _size(chart: PairChart) -> tuple[float, float]:
    return _left(chart, len(chart.panels)) - 12 + MARGIN, _top(chart, len(chart.lines)) + FOOT


def _wide(chart: PairChart) -> float:
    return LONE if len(chart.panels) == 1 else PANEL


def _left(chart: PairChart, panel: int) -> float:
    """Return where a panel's zero is."""
    names = MARGIN + LETTER * max(len(line.name) for line in chart.lines) + 10
    return names + panel * (_wide(chart) + FIGURE + 12)


def _top(chart: PairChart, place: int) -> float:
    """Return where a line begins, below its heading."""
    headings = sum(bool(line.heading) for line in chart.lines[: place + 1])
    return TOP + ROW * place + HEADING * headings


def _parts(chart: PairChart) -> list[Markup]:
    parts: list[Markup] = _legend(chart)
    texts: list[Markup] = []
    floor = _top(chart, len(chart.lines))
    for panel, (_, title) in enumerate(chart.panels):
        parts += _frame(chart, panel, title, floor)
    for place, line in enumerate(chart.lines):
        y = _top(chart, place)
        if line.heading:
            texts.append(element("text", line.heading, x=MARGIN, y=y - 7, class_="axis strong halo"))
        parts.append(element("text", line.name, x=_left(chart, 0) - 10, y=y + BAR + 4, class_="axis end ink"))
        for panel, pair in enumerate(line.pairs):
            for which, figure in enumerate(pair):
                drawn, words = _bar(chart, panel, y + which * BAR, which, figure, line.name)
                parts, texts = [*parts, *drawn], [*texts, words]
    if chart.mark:
        parts += _mark(chart, chart.mark, floor)
    return [*parts, *texts]


def _legend(chart: PairChart) -> list[Markup]:
    parts, x = [], _left(chart, 0)
    for name, style in zip(chart.keys, STYLES, strict=True):
        parts.append(element("rect", x=x, y=6.0, width=12.0, height=12.0, rx=2, class_=style))
        parts.append(element("text", name, x=x + 17, y=16.0, class_="axis ink"))
        x += 17 + LETTER * len(name) + 22
    return parts


def _frame(chart: PairChart, panel: int, title: str, floor: float) -> list[Markup]:
    left, wide = _left(chart, panel), _wide(chart)
    parts = [element("text", title, x=left, y=TOP - 14, class_="axis strong")] if title else []
    most, unit = peak(chart, panel), formats.amount(chart.panels[panel][0], 1.0).endswith("%")
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + share * wide
        parts.append(element("line", x1=x, x2=x, y1=TOP - 6, y2=floor, class_="rule"))
        if unit or share in (0, 0.5, 1):
            tick = f"{share:.0%}" if unit else f"{share * most:g}"
            parts.append(element("text", tick, x=x, y=floor + 15, class_="axis middle"))
    return parts


def _bar(chart: PairChart, panel: int, y: float, which: int, figure: Figure, name: str) -> tuple[list[Markup], Markup]:
    """Return a bar with its interval, and its figure, which nothing is to be drawn over."""
    left, wide = _left(chart, panel), _wide(chart) / peak(chart, panel)
    metric, title = chart.panels[panel]
    where = f"{name}, {chart.keys[which]}{f', {title}' if title else ''}"
    if figure.value is None:
        words = tooltip(f"{where}: not known")
        return [], element("text", Markup("{}{}").format(formats.DASH, words), x=left + 6, y=y + 10, class_="axis halo")
    amount = formats.amount(metric, figure.value)
    interval = "" if None in figure.ci else f" ({formats.span(metric, figure.ci)})"
    words = tooltip(f"{where}: {amount}{interval}, n = {figure.n:,}")
    box = {"x": left, "y": y + 1, "width": max(figure.value * wide, 0.8), "height": BAR - 2, "rx": 2}
    parts = [element("rect", words, **box, class_=STYLES[which])]
    end = figure.value
    if None not in figure.ci:
        low, high = (float(edge or 0.0) for edge in figure.ci)
        middle = y + BAR / 2
        line = element("line", x1=left + low * wide, x2=left + high * wide, y1=middle, y2=middle, class_="whisker s0")
        parts.append(line)
        end = max(high, end)
    return parts, element("text", amount, x=left + end * wide + 6, y=y + 10, class_="axis halo")


def _mark(chart: PairChart, mark: tuple[float, str], floor: float) -> list[Markup]:
    parts = []
    for panel in range(len(chart.panels)):
        x = _left(chart, panel) + mark[0] / peak(chart, panel) * _wide(chart)
        parts.append(element("line", tooltip(mark[1]), x1=x, x2=x, y1=TOP - 6, y2=floor, class_="mark"))
    return parts
