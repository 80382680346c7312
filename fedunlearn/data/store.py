"""From what a reader found to the arrays that processes map into memory: every sample is checked on the way."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.data.private_classes import set_apart
from fedunlearn.data.sources.pictures import Pictures, common_shape, decode_into
from fedunlearn.data.sources.source import Part, Source
from fedunlearn.errors import DataError


def store(
    source: Source,
    name: str,
    folder: Path,
    side: int | None = None,
    private_classes: int | Sequence[int] | None = None,
) -> None:
    """Write `x.npy` (n, C, H, W), `y.npy` (n,) and `meta.json`: the training part, then the source's own test part.

    Args:
        source: the data set as found.
        name: what to call it.
        folder: where the files go.
        side: pictures become squares of so many pixels; None: they keep their size, which must be the same for all.
        private_classes: the federation's, or how many of the first; they become 0, 1, ... None: all.

    Raises:
        ScenarioError: when `private_classes` names an unknown class, or leaves no other.
        DataError: when an image cannot be read or has another size, or a label cannot be one.
    """
    if side and any(isinstance(part.images, np.ndarray) for part in source.parts):
        raise DataError(f"data.side = {side}: only encoded pictures are resized; {source.train.where} holds arrays")
    for part in source.parts:
        if len(part.images) != len(part.labels):
            raise DataError(f"{part.where}: {len(part.images)} images but {len(part.labels)} labels")
        if not len(part.labels):
            raise DataError(f"{part.where}: no samples")
    labels, class_names = check_labels(source)
    private: dict[str, int] = {}
    if private_classes is not None:
        labels, class_names, count = set_apart(labels, class_names, private_classes)
        private = {"private-classes": count}
    _write_pixels(source.parts, folder / "x.npy", side)
    np.save(folder / "y.npy", labels)
    meta = {
        "name": name,
        "class-names": class_names,
        "scale": source.scale,
        "num-own-test": len(source.test.labels) if source.test else 0,
        **private,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _write_pixels(parts: list[Part], file: Path, side: int | None) -> None:
    pictures = [part.images for part in parts if isinstance(part.images, Pictures)]
    arrays = [part.images for part in parts if isinstance(part.images, np.ndarray)]
    shape = common_shape(pictures, side) if pictures else arrays[0].shape[1:]
    dtype: Any = np.uint8 if pictures else arrays[0].dtype
    count = sum(len(part.images) for part in parts)
    target = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=(count, *shape))
    start = 0
    for part in parts:
        rows = target[start : start + len(part.images)]
        if isinstance(part.images, Pictures):
            decode_into(rows, part.images, side)
        elif part.images.shape[1:] != shape:
            raise DataError(f"{part.where}: images are {part.images.shape[1:]}, those to train on {shape}")
        else:
            rows[:] = part.images
        start += len(rows)
    target.flush()


def check_labels(source: Source) -> tuple[np.ndarray, list[str]]:
    """Return the labels of all parts (int64) and the names of the classes.

    Where the source does not name its classes, they are 0 to the largest training label, and none of them
    (but 0, which some sets leave out) may be without samples: a gap means a damaged label.

    Raises:
        DataError: for a label that is not whole, negative, or too large; the message names its row.
    """
    parts = [_whole_numbers(part) for part in source.parts]
    if source.class_names is None:
        present = np.unique(parts[0])
        gaps = np.flatnonzero(np.diff(present) > 1)
        if present[0] > 1 or len(gaps):
            label = int(present[gaps[0] + 1] if len(gaps) else present[0])
            row = int(np.argmax(parts[0] == label))
            why = f"no sample has label {label - 1}"
            raise DataError(f"{source.train.row(row)}: label {label} is out of range, as {why}")
        class_names = [str(label) for label in range(int(present[-1]) + 1)]
    else:
        class_names = list(source.class_names)
    for part, labels in zip(source.parts, parts, strict=True):
        if labels.max() >= len(class_names):
            row = int(np.argmax(labels >= len(class_names)))
            allowed = f"the {len(class_names)} classes are 0 to {len(class_names) - 1}"
            raise DataError(f"{part.row(row)}: label {labels[row]} is out of range; {allowed}")
    return np.concatenate(parts), class_names


def _whole_numbers(part: Part) -> np.ndarray:
    """Return a part's labels as int64 once they are known to be whole and not negative."""
    labels = part.labels
    if labels.ndim != 1:
        raise DataError(
            f"{part.labels_where or part.where}: labels of shape {labels.shape}; expected one number per image"
        )
    if labels.dtype.kind not in "biuf":
        wrong = np.array([not isinstance(label, int) for label in labels.tolist()])
    else:
        wrong = ~np.isfinite(labels) | (labels != np.floor(labels))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{part.row(row)}: label {labels.tolist()[row]!r} is not a whole number")
    whole = labels.astype(np.int64)
    if whole.min() < 0:
        row = int(np.argmax(whole < 0))
        raise DataError(f"{part.row(row)}: label {whole[row]} is negative")
    return whole
