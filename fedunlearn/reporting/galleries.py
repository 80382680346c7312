"""Training images above what was rebuilt of them, batch by batch, and the means of both."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.names import CONTROLS, TRUNK
from fedunlearn.reporting import formats
from fedunlearn.reporting.artefacts import Batch, batches, load_arrays, pixels, png
from fedunlearn.reporting.picture_words import counting, threshold

Row = Mapping[str, Any]
MOST = 24  # galleries of one attack
MANY = 4  # rows or galleries from which on each shows less, so that the page stays small
FEW_BATCHES, FEW_PAIRS = 2, 8


@dataclass(frozen=True)
class Pair:
    """A training image and what was rebuilt of it, as data URIs, with a caption; `mean` for the mean of a batch."""

    original: str
    rebuilt: str
    caption: str
    measures: str
    recognisable: bool
    mean: bool = False


@dataclass(frozen=True)
class Gallery:
    """The pairs of one batch; `quiet` where nothing was forgotten."""

    heading: str
    pairs: tuple[Pair, ...]
    quiet: bool


def galleries(folder: Path, rows: Sequence[Row], names: Sequence[str]) -> tuple[Gallery, ...]:
    """Return the galleries of one attack's rows; of many rows and batches the first ones.

    Args:
        folder: of the cell, where the arrays lie.
        rows: the attack's, one per branch.
        names: of the classes.
    """
    known = [row for row in rows if (folder / row["details"].get("array", "missing")).is_file()]
    shown = [
        (row, index, batch)
        for row in known
        for index, batch in enumerate(batches(row["details"])[: FEW_BATCHES if len(known) > MANY else None])
    ][:MOST]
    pairs = FEW_PAIRS if len(shown) > MANY else None
    return tuple(_gallery(folder, row, index, batch, names, pairs) for row, index, batch in shown)


def _gallery(folder: Path, row: Row, index: int, batch: Batch, names: Sequence[str], most: int | None) -> Gallery:
    arrays, entry = load_arrays(folder, row["details"]["array"]), batch.entry
    truth, rebuilt = (arrays[f"{kind}-{index}"][:most] for kind in ("originals", "rebuilt"))
    pairs = []
    for n, images in enumerate(zip(truth, rebuilt, strict=True)):
        decibels = entry["psnr"][n]
        caption = f"{_class(entry['labels'][n], names)}, {formats.amount('psnr', decibels)}"
        clear = decibels is not None and decibels >= threshold(row)
        pairs.append(_pair(images, caption, _measures(entry, n), clear))
    if f"means-{index}" in arrays:
        caption = f"mean image, {formats.amount('psnr', entry['psnr-of-mean'])}"
        words = f"mean of all {entry['images']} true images, mean of all rebuilt ones"
        pairs.append(_pair(arrays[f"means-{index}"], caption, words, False, mean=True))
    branch = "" if row["branch"] == TRUNK else f"{row['branch']}: "
    right = f"{entry['labels-right']} of {entry['images']} labels right" if "labels-right" in entry else ""
    heading = "; ".join(filter(None, [f"{branch}{batch.words}", right, counting(row, index)]))
    return Gallery(heading, tuple(pairs), row["branch"] in CONTROLS)


def _pair(images: Iterable[np.ndarray], caption: str, measures: str, recognisable: bool, *, mean: bool = False) -> Pair:
    original, rebuilt = ("data:image/png;base64," + base64.b64encode(png(pixels(image))).decode() for image in images)
    return Pair(original, rebuilt, caption, measures, recognisable, mean)


def _class(label: int, names: Sequence[str]) -> str:
    return names[label] if label < len(names) and names[label] != str(label) else f"class {label}"


def _measures(entry: Row, n: int) -> str:
    """Return the other measures of a pair for a pointer that rests on it."""
    known = {name: entry[name][n] for name in ("ssim", "lpips", "fft2d") if n < len(entry.get(name, []))}
    return ", ".join(f"{name} {formats.amount(name, value)}" for name, value in known.items() if value is not None)
