"""Pictures (PNG) and arrays (npz) of a cell, in `artefacts/`; referred to relative to the cell's folder."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fedunlearn.judging.case import Verdict

FOLDER = "artefacts"
SIDE = 112  # pixels: smaller images are enlarged until a person can see them
GAP = 4
WIDEST = 20  # images in a strip
PORTRAITS = "portraits-"  # what a model generated of each class, by model
FRAME = np.array([213, 94, 0], np.uint8)  # around what is marked


def save_images(folder: Path, name: str, rows: Sequence[np.ndarray]) -> str:
    """Write image batches (n, C, H, W) in [0, 1] below each other as one PNG; return its path relative to `folder`."""
    return _store(folder, f"{name}.png", png(grid(rows)))


def save_array(folder: Path, name: str, **arrays: np.ndarray) -> str:
    """Write named arrays as one npz; return its path relative to `folder`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return _store(folder, f"{name}.npz", buffer.getvalue())


def load_arrays(folder: Path, path: str) -> dict[str, np.ndarray]:
    """Return the arrays that `save_array` wrote."""
    with np.load(folder / path) as arrays:
        return dict(arrays)


def save_verdict(folder: Path, name: str, verdict: Verdict) -> tuple[dict[str, Any], list[str]]:
    """Write what a report needs of a verdict.

    Args:
        folder: of the cell.
        name: unique in the cell, for example `bias-drop-server-finetune`.
        verdict: the judge's.

    Returns:
        The `details` of the attack's row (with `array` pointing to the npz, when there is one), and its `pictures`.
    """
    if not verdict.arrays:
        return dict(verdict.details), []
    details = verdict.details | {"array": save_array(folder, name, **verdict.arrays)}
    pictures = [
        save_images(folder, f"{name}-{batch.key}", picture_rows(verdict.arrays, index))
        for index, batch in enumerate(batches(verdict.details))
        if f"rebuilt-{index}" in verdict.arrays
    ]
    if "prototypes" in verdict.arrays:
        strip = marked_strip(verdict.arrays["prototypes"], details["true"] if not details["control"] else ())
        pictures.append(_store(folder, f"{name}-prototypes.png", png(strip)))
    if "claimed" in verdict.arrays:
        pictures.append(_store(folder, f"{name}-claimed.png", png(claimed_strip(verdict))))
    if any(name.startswith(PORTRAITS) for name in verdict.arrays):
        pictures.append(save_images(folder, f"{name}-portraits", portrait_rows(verdict.arrays)))
    return details, pictures


def portrait_rows(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return what models generated, a row per class, and model after model with a gap between them."""
    grids = [array for name, array in arrays.items() if name.startswith(PORTRAITS)]
    gap = np.ones_like(grids[0][:, :1])
    parts = [part for grid in grids for part in (gap, grid)][1:]
    return list(np.concatenate(parts, axis=1))


@dataclass(frozen=True)
class Batch:
    """Pictures that belong together: of one update, or of a request.

    Attributes:
        key: for file names.
        words: for readers.
        entry: the verdict's details on it.
    """

    key: str
    words: str
    entry: Mapping[str, Any]


def batches(details: Mapping[str, Any]) -> list[Batch]:
    """Return what a verdict's details say batch by batch, in the order of its arrays."""
    updates = [
        Batch(f"r{entry['round']}-c{entry['client']}", f"round {entry['round']}, client {entry['client']}", entry)
        for entry in details.get("updates", [])
    ]
    forgotten = details.get("forgotten")
    return updates + ([Batch("forgotten", f"forgotten by {forgotten['request']}", forgotten)] if forgotten else [])


def picture_rows(arrays: Mapping[str, np.ndarray], index: int) -> list[np.ndarray]:
    """Return the originals of a batch and, to go below them, the rebuilt images; after a gap the means of both."""
    rows = [arrays[f"{kind}-{index}"] for kind in ("originals", "rebuilt")]
    if f"means-{index}" not in arrays:
        return rows
    return [
        np.concatenate([row, np.ones_like(row[:1]), mean[None]])
        for row, mean in zip(rows, arrays[f"means-{index}"], strict=True)
    ]


def pixels(image: np.ndarray) -> np.ndarray:
    """Return an image (C, H, W) in [0, 1] as enlarged uint8 (height, width, 3); NaN becomes grey.

    One channel is grey, three are red, green, blue; of any other number the mean is shown.
    """
    shown = image if image.shape[0] in (1, 3) else image.mean(axis=0, keepdims=True)
    levels = np.clip(np.nan_to_num(shown.astype(np.float64), nan=0.5), 0, 1)
    colours = np.broadcast_to(np.round(255 * levels), (3, *shown.shape[1:])).astype(np.uint8)
    factor = max(1, math.ceil(SIDE / min(shown.shape[1:])))
    return colours.transpose(1, 2, 0).repeat(factor, axis=0).repeat(factor, axis=1)


def grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return image batches below each other on white as one uint8 array (height, width, 3)."""
    tiles = [[pixels(image) for image in row] for row in rows]
    height, width = tiles[0][0].shape[:2]
    columns = max(len(row) for row in tiles)
    canvas = np.full((len(tiles) * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for y, row in enumerate(tiles):
        for x, tile in enumerate(row):
            top, left = GAP + y * (height + GAP), GAP + x * (width + GAP)
            canvas[top : top + height, left : left + width] = tile
    return canvas


def claimed_strip(verdict: Verdict) -> np.ndarray:
    """Return the first claimed picture of each class above the private sample next to it; forgotten classes framed.

    Of the models before the request and on the controls nothing was forgotten, and none is framed.
    """
    labels, details = verdict.arrays["claimed-labels"], verdict.details
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    gone = () if details["control"] else details["forgotten-classes"]
    marked = [place for place, row in enumerate(first) if labels[row] in gone]
    return marked_strip(verdict.arrays["claimed"][first], marked, verdict.arrays["nearest"][first])


def marked_strip(images: np.ndarray, marked: Collection[int], below: np.ndarray | None = None) -> np.ndarray:
    """Return images (n, C, H, W) side by side as one uint8 array (height, width, 3), the marked ones framed.

    Args:
        images: the strip; the first `WIDEST` are shown.
        marked: which are framed.
        below: what goes below each.
    """
    shown = images[:WIDEST]
    canvas = grid([shown] if below is None else [shown, below[:WIDEST]])
    width = pixels(shown[0]).shape[1] + GAP
    for k in (k for k in marked if k < len(shown)):
        frame = canvas[:, k * width : (k + 1) * width + GAP]
        frame[:GAP] = frame[-GAP:] = frame[:, :GAP] = frame[:, -GAP:] = FRAME
    return canvas


def png(colours: np.ndarray) -> bytes:
    """Return a uint8 array (height, width, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG")
    return buffer.getvalue()


def _store(folder: Path, name: str, content: bytes) -> str:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    (folder / FOLDER / name).write_bytes(content)
    return f"{FOLDER}/{name}"
