"""What generating models make of every class: before pruning, pruned, defended and revived, beside each other."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.names import CONTROLS
from fedunlearn.reporting.artefacts import FRAME, GAP, PORTRAITS, grid, load_arrays, png

Row = Mapping[str, Any]
CAPTIONS = {"before": "before pruning", "pruned": "pruned", "defended": "defended", "revived": "revived"}


@dataclass(frozen=True)
class Album:
    """The models of one branch: a caption and a picture (data URI) each; `quiet` where nothing was pruned."""

    heading: str
    models: tuple[tuple[str, str], ...]
    quiet: bool


def albums(folder: Path, rows: Sequence[Row]) -> tuple[Album, ...]:
    """Return an album per branch on which an attack revived a generating model.

    Args:
        folder: of the cell, where the arrays lie.
        rows: the attack's, one per branch.
    """
    found = []
    for row in rows:
        details, quiet = row["details"], row["branch"] in CONTROLS
        if "generated" not in details or not (folder / details.get("array", "missing")).is_file():
            continue
        arrays = load_arrays(folder, details["array"])
        erased = () if quiet else details["erased"]
        models = tuple(
            (caption, _uri(framed_rows(arrays[f"{PORTRAITS}{name}"], erased)))
            for name, caption in CAPTIONS.items()
            if f"{PORTRAITS}{name}" in arrays
        )
        shown, each = arrays[f"{PORTRAITS}revived"].shape[1], details["generated"]["per-class"]
        heading = f"after {row['branch']}: a row per class, {shown} of n = {each} images of each"
        found.append(Album(heading, models, quiet))
    return tuple(found)


def framed_rows(images: np.ndarray, marked: Collection[int]) -> np.ndarray:
    """Return images (classes, columns, C, H, W) as one uint8 array (height, width, 3), the rows of `marked` framed."""
    canvas = grid(list(images))
    tall = (len(canvas) - GAP) // len(images)
    for label in marked:
        row = canvas[label * tall : (label + 1) * tall + GAP]
        row[:GAP] = row[-GAP:] = row[:, :GAP] = row[:, -GAP:] = FRAME
    return canvas


def _uri(colours: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(colours)).decode()
