"""A prepared data set: arrays on disk that every process maps into memory with numpy alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fedunlearn.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels by sample id: the row number in the order of the source, so ids never change.

    Attributes:
        folder: where the arrays lie.
        name: what the scenario calls the data set.
        class_names: one per class of the federation; the label `k` means `class_names[k]`.
        foreign_class_names: of classes whose samples are all public; their labels go on after the federation's.
        scale: the stored value of a white pixel.
        num_own_test: how many rows, the last ones, the source itself sets apart for testing.
        all_labels: int64 (n,), read-only.
    """

    folder: Path
    name: str
    class_names: tuple[str, ...]
    foreign_class_names: tuple[str, ...]
    scale: int
    num_own_test: int
    all_labels: np.ndarray = field(repr=False)
    _pixels: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.all_labels)

    @property
    def num_classes(self) -> int:
        """The number of the federation's classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self._pixels.shape[1:]
        return channels, height, width

    def images(self, ids: ArrayLike) -> np.ndarray:
        """Return a fresh float32 array (len(ids), C, H, W) with values in [0, 1]."""
        rows = self._pixels[np.asarray(ids, dtype=np.int64)]
        return np.divide(rows, np.float32(self.scale), dtype=np.float32)

    def labels(self, ids: ArrayLike) -> np.ndarray:
        """Return a fresh int64 array (len(ids),)."""
        return self.all_labels[np.asarray(ids, dtype=np.int64)]

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled memory map carries all its data; the path is enough.
        return open_dataset, (self.folder,)


def open_dataset(folder: Path | str) -> Dataset:
    """Return the data set that `prepare` put into `folder`; opened once per process.

    Raises:
        DataError: when the folder holds no prepared data set, or a damaged one.
    """
    return _open(str(folder))


@lru_cache(maxsize=8)
def _open(name: str) -> Dataset:
    folder = Path(name)
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        pixels = np.asarray(np.load(folder / "x.npy", mmap_mode="r"))  # a plain array over the map slices faster
        labels = np.load(folder / "y.npy")
        labels.flags.writeable = False
        names = tuple(meta["class-names"])
        own = meta.get("private-classes", len(names))
        return Dataset(
            folder, meta["name"], names[:own], names[own:], meta["scale"], meta["num-own-test"], labels, pixels
        )
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; is {folder} a prepared data set?") from error
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: damaged ({error}); delete this folder and run again") from error
