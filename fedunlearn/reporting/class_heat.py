"""The picture of a block: attacks by unlearning methods as a table of shades, false alarms beside it."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from fedunlearn.reporting import formats
from fedunlearn.reporting.class_blocks import METRICS, SHARES, Block, Figure
from fedunlearn.reporting.svg import document, drawing, element, tooltip
from fedunlearn.reporting.templates.style import COLOURS, DRAWINGS

TILE, ROW, GAP = 44.0, 24.0, 26.0  # pixels: a column, a line, between the methods and the controls
LETTER = 6.6  # of a name
MARGIN = 14.0
NARROWEST = 520.0  # of a file, for its caption
FEWEST = 2  # attacks that make a table


def heat(block: Block) -> Markup:
    """Return the drawing for the report."""
    width, height = _size(block)
    return drawing(width, height, _parts(block), _label(block))


def heat_file(block: Block) -> str:
    """Return the same as an SVG file of its own, its colours, a heading and a caption included."""
    width, height = _size(block)
    lines = textwrap.wrap(caption(block), int((max(width, NARROWEST) - 2 * MARGIN) / 5.9))
    below = [
        element("text", line, x=MARGIN, y=height + 14 + 16 * number, class_="axis") for number, line in enumerate(lines)
    ]
    parts = [*_parts(block), *below]
    title = block.group or "Which class was forgotten?"
    return document(
        max(width, NARROWEST), height + 20 + 16 * len(lines), parts, title, COLOURS + DRAWINGS, _label(block)
    )


def write_heat(run: Path, found: Sequence[Block]) -> None:
    """Write `classes.svg`, where there are several blocks one named after each; atomic."""
    for block in (block for block in found if len(block.lines) >= FEWEST):
        name = f"classes-{re.sub('[^a-z0-9]+', '-', block.group.lower()).strip('-')}" if len(found) > 1 else "classes"
        temporary = run / f"{name}.svg.part"
        temporary.write_text(heat_file(block), encoding="utf-8")
        os.replace(temporary, run / f"{name}.svg")


def caption(block: Block) -> str:
    """Say what the figures are, of how many trials, and what chance gives."""
    figures = [figure for line in block.lines for figure in line.after if figure is not None]
    most = max(figure.n for figure in figures)
    least = min(figure.n for figure in figures if figure.n)
    trials = f"{most}" if least == most else f"{least} to {most}"
    chance = "not known" if block.chance is None else _number(block, block.chance) + _unit(block)
    said = f"{METRICS[block.metric][0].upper()}{METRICS[block.metric][1:]}, {_scale(block)}; "
    said += f"n = {trials}, chance {chance}."
    if any(figure.clear for figure in figures):
        said += " Bold: above chance after Holm's correction over all rows."
    if any(figure.value is None for figure in figures):
        said += " Dash: no answer."
    if block.controls:
        said += (
            " Right: share of runs in which a class is named although none was to be forgotten, in percent; "
            "framed: above the attack's nominal level after Holm's correction."
        )
    return said


def _scale(block: Block) -> str:
    return "the smaller the closer" if block.metric == SHARES else "percent of trials"


def _unit(block: Block) -> str:
    return "" if block.metric == SHARES else "%"


def _label(block: Block) -> str:
    where = f" ({block.group})" if block.group else ""
    return f"Attacks on the forgotten class by unlearning method{where}"


def _left(block: Block) -> float:
    return MARGIN + LETTER * max(len(line.attack) for line in block.lines) + 10


def _top(block: Block) -> float:
    """Return where the tiles begin: below the slanted names."""
    return 26 + 0.72 * LETTER * max(len(name) for name in (*block.branches, *block.controls))


def _size(block: Block) -> tuple[float, float]:
    columns = len(block.branches) + len(block.controls)
    last = (block.controls or block.branches)[-1]
    width = _left(block) + columns * TILE + (GAP if block.controls else 0)
    return width + 0.72 * LETTER * len(last) + MARGIN, _top(block) + ROW * len(block.lines) + 8


def _parts(block: Block) -> list[Markup]:
    left, top = _left(block), _top(block)
    beside = left + TILE * len(block.branches) + GAP
    parts = _names(block.branches, left, top) + _names(block.controls, beside, top)
    if block.controls:
        parts.append(element("text", "false alarms", x=beside, y=13.0, class_="note"))
    for number, line in enumerate(block.lines):
        y = top + number * ROW
        parts.append(element("text", line.attack, x=left - 10, y=y + ROW / 2 + 4, class_="axis end ink"))
        for place, figure in enumerate(line.after):
            parts += _tile(left + place * TILE, y, figure, f"{line.attack} after {block.branches[place]}", block)
        for place, figure in enumerate(line.alarms):
            parts += _tile(beside + place * TILE, y, figure, f"{line.attack} on {block.controls[place]}", None)
    return parts


def _names(names: Sequence[str], left: float, top: float) -> list[Markup]:
    """Return slanted names above columns."""
    parts = []
    for place, name in enumerate(names):
        x, y = left + place * TILE + TILE / 2 - 2, top - 8
        parts.append(element("text", name, x=x, y=y, class_="axis ink", transform=f"rotate(-45 {x:g} {y:g})"))
    return parts


def _tile(x: float, y: float, figure: Figure | None, where: str, block: Block | None) -> list[Markup]:
    """Return a tile and its number; without a block, of a false alarm."""
    box = {"x": x, "y": y, "width": TILE - 2, "height": ROW - 2, "rx": 2}
    if figure is None:
        return []
    if figure.value is None:
        silent = tooltip(f"{where}: no answer in {figure.failed} trials")
        dash = {"x": x + TILE / 2 - 1, "y": y + ROW / 2 + 3}
        return [element("rect", silent, **box, class_="hollow"), element("text", "\u2013", **dash, class_="tile-text")]
    shade = _shade(figure.value, block)
    kind = "tile" if block else f"tile alarm{' framed' if figure.clear else ''}"
    style = f"fill-opacity:{0.05 + 0.95 * shade:.3f}"
    tone = f"tile-text{' light' if shade > 0.55 else ''}{' strong' if figure.clear else ''}"
    place = {"x": x + TILE / 2 - 1, "y": y + ROW / 2 + 3}
    words = tooltip(f"{where}: {_words(figure, block)}")
    return [
        element("rect", words, **box, class_=kind, style=style),
        element("text", _number(block, figure.value), **place, class_=tone),
    ]


def _shade(value: float, block: Block | None) -> float:
    """Return how dark a tile is, 0 to 1; of distances how much closer they are than chance."""
    if block is None or block.metric != SHARES:
        return value
    return min(max(1 - value / block.chance, 0.0), 1.0) if block.chance else 0.0


def _number(block: Block | None, value: float) -> str:
    return f"{value:.2f}" if block and block.metric == SHARES else f"{100 * value:.0f}"


def _words(figure: Figure, block: Block | None) -> str:
    metric = block.metric if block else "false-alarm"
    failed = f", {figure.failed} without an answer" if figure.failed else ""
    interval = f" ({formats.span(metric, figure.ci)})" if None not in figure.ci else ""
    return f"{formats.amount(metric, figure.value)}{interval}, n = {figure.n}{failed}"
