"""Two bars per line as a picture, drawn with Pillow alone."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from fedunlearn.reporting import formats
from fedunlearn.reporting.class_blocks import Figure
from fedunlearn.reporting.pair_bars import PairChart, peak
from fedunlearn.reporting.revivals import ORACLE

COLOURS = ((213, 94, 0), (0, 114, 178))
INK, RULE = (60, 60, 60), (225, 225, 225)
ROW, BAR, WIDE, LETTER, FIGURE, TOP = 30, 11, 180, 6, 52, 22  # pixels: line, bar, panel, letter, figure, above


def pair_picture(chart: PairChart) -> np.ndarray:
    """Return the chart as uint8 (height, width, 3): orange the first bar of each line, blue the second."""
    left = 12 + LETTER * max((len(line.name) for line in chart.lines), default=0)
    size = (left + len(chart.panels) * (WIDE + FIGURE), TOP + ROW * len(chart.lines) + 6)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for panel, (_, title) in enumerate(chart.panels):
        start = left + panel * (WIDE + FIGURE)
        draw.text((start, 4), f"{title}, 0 to {peak(chart, panel):g}" if title else "0 to 1", fill=INK)
        draw.line((start + WIDE, TOP - 4, start + WIDE, size[1]), fill=RULE)
    for number, line in enumerate(chart.lines):
        y = TOP + number * ROW
        name = line.name.replace(ORACLE, "*")  # Pillow's letters have no dagger
        draw.text((left - 6, y + BAR), name, fill=INK, anchor="rm")
        for panel, pair in enumerate(line.pairs):
            for which, figure in enumerate(pair):
                _bar(draw, chart, panel, (left + panel * (WIDE + FIGURE), y + which * BAR), which, figure)
    return np.asarray(image)


def _bar(
    draw: ImageDraw.ImageDraw, chart: PairChart, panel: int, place: tuple[int, int], which: int, figure: Figure
) -> None:
    x, y = place
    scale = WIDE / peak(chart, panel)
    end = x + round((figure.value or 0.0) * scale)
    if figure.value is not None:
        draw.rectangle((x, y, end, y + BAR - 2), fill=COLOURS[which])
    told = "-" if figure.value is None else formats.amount(chart.panels[panel][0], figure.value)
    draw.text((end + 4, y + BAR // 2), told, fill=INK, anchor="lm")
