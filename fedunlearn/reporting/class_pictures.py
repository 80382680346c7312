"""Scores by class and attacks by methods as pictures, drawn with Pillow alone."""

from collections.abc import Collection

import numpy as np
from PIL import Image, ImageDraw

from fedunlearn.reporting.class_blocks import SHARES, Block, Figure

BLUE, ORANGE, GREY = np.array([8, 69, 148]), np.array([213, 94, 0]), np.array([190, 194, 200])
INK, PAPER = (60, 60, 60), np.array([250, 251, 253])
BAR, TALL, LABELLED = 26, 120, 20  # pixels of a bar with its gap, of the chart; classes that are numbered
TILE, ROW, LETTER = 46, 22, 6  # pixels of a column, of a line, of a name's letter


def score_picture(scores: np.ndarray, marked: Collection[int]) -> np.ndarray:
    """Return a bar per class as uint8 (height, width, 3), the marked classes orange.

    Args:
        scores: (num_classes,), finite.
        marked: the classes that were forgotten.
    """
    slot = BAR if len(scores) <= LABELLED else max(3, 600 // len(scores))
    low, high = min(scores.min(), 0.0), max(scores.max(), 0.0)
    scale = TALL / max(high - low, 1e-300)
    image = Image.new("RGB", (slot * len(scores) + 8, TALL + 28), "white")
    draw, zero = ImageDraw.Draw(image), 6 + high * scale
    for k, score in enumerate(scores):
        left = 4 + k * slot
        ends = sorted((zero, zero - score * scale))
        box = (left + slot // 8, ends[0], left + slot - 1 - slot // 8, max(ends[1], ends[0] + 1))
        draw.rectangle(box, fill=tuple((ORANGE if k in marked else GREY).tolist()))
        if len(scores) <= LABELLED:
            draw.text((left + slot // 2, TALL + 17), str(k), fill=INK, anchor="mm")
    draw.line((4, zero, image.width - 4, zero), fill=INK)
    return np.asarray(image)


def block_picture(block: Block) -> np.ndarray:
    """Return attacks by methods as uint8 (height, width, 3), false alarms on the controls in orange beside them."""
    left = 12 + LETTER * max(len(line.attack) for line in block.lines)
    names = [*block.branches, *block.controls]
    top = 14 + LETTER * max(map(len, names))
    image = Image.new("RGB", (left + TILE * len(names) + 8, top + ROW * len(block.lines) + 6), "white")
    draw = ImageDraw.Draw(image)
    for place, name in enumerate(names):
        upright = Image.new("RGB", (LETTER * len(name) + 4, 14), "white")
        ImageDraw.Draw(upright).text((2, 1), name, fill=INK)
        turned = upright.rotate(90, expand=True)
        image.paste(turned, (left + place * TILE + TILE // 2 - 7, top - turned.height - 4))
    for number, line in enumerate(block.lines):
        y = top + number * ROW
        draw.text((left - 6, y + ROW // 2), line.attack, fill=INK, anchor="rm")
        for place, figure in enumerate((*line.after, *line.alarms)):
            alarm = place >= len(line.after)
            _tile(draw, left + place * TILE, y, figure, ORANGE if alarm else BLUE, None if alarm else block)
    return np.asarray(image)


def _tile(
    draw: ImageDraw.ImageDraw, x: int, y: int, figure: Figure | None, colour: np.ndarray, block: Block | None
) -> None:
    if figure is None:
        return
    middle, distance = (x + TILE // 2, y + ROW // 2), block is not None and block.metric == SHARES
    if figure.value is None:
        draw.text(middle, "-", fill=INK, anchor="mm")
        return
    value = figure.value
    shade = value
    if distance:
        shade = min(max(1 - value / block.chance, 0.0), 1.0) if block and block.chance else 0.0
    fill = tuple((PAPER + shade * (colour - PAPER)).round().astype(int).tolist())
    draw.rectangle((x + 1, y + 1, x + TILE - 2, y + ROW - 2), fill=fill)
    text = f"{value:.2f}" if distance else f"{100 * value:.0f}"
    draw.text(middle, text, fill="white" if shade > 0.5 else INK, anchor="mm")
