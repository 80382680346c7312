"""A matrix as a picture, drawn with Pillow alone."""

import numpy as np
from PIL import Image, ImageDraw

TILE, LABEL = 28, 22
LABELLED = 20  # rows; more are drawn without numbers
_LOW, _HIGH = np.array([247, 251, 255]), np.array([8, 69, 148])  # the two ends of a light-to-dark blue scale


def confusion_picture(counts: np.ndarray) -> np.ndarray:
    """Return a confusion matrix as uint8 (height, width, 3); shade is the share of the row, so of the true class.

    Args:
        counts: (K, K), true class by row, predicted class by column.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    colours = (_LOW + shares[..., None] * (_HIGH - _LOW)).round().astype(np.uint8)
    tile = TILE if len(counts) <= LABELLED else max(2, 560 // len(counts))
    tiles = colours.repeat(tile, axis=0).repeat(tile, axis=1)
    if len(counts) > LABELLED:
        return tiles
    canvas = np.full((tiles.shape[0] + LABEL, tiles.shape[1] + LABEL, 3), 255, np.uint8)
    canvas[LABEL:, LABEL:] = tiles
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    for k in range(len(counts)):
        middle = LABEL + k * TILE + TILE // 2
        draw.text((middle, LABEL // 2), str(k), fill=(90, 90, 90), anchor="mm")
        draw.text((LABEL // 2, middle), str(k), fill=(90, 90, 90), anchor="mm")
    for row, column in zip(*np.nonzero(counts), strict=True):
        shade = (255, 255, 255) if shares[row, column] > 0.5 else (60, 60, 60)
        place = (LABEL + column * TILE + TILE // 2, LABEL + row * TILE + TILE // 2)
        draw.text(place, str(int(counts[row, column])), fill=shade, anchor="mm")
    return np.asarray(image)
