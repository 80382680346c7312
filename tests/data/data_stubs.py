"""Settings as the data room reads them, and small files to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedunlearn.data import Dataset, open_dataset, prepare


@dataclass(frozen=True)
class Data:
    name: str = "digits"
    path: str | None = None
    format: str | None = None
    train: int | float | None = None
    test: int | float = 0.2
    public: int | float = 0.15
    validation: int | float = 0.05
    judge: int | float = 0.05
    stratified: bool = False
    private_classes: int | Sequence[int] | None = None
    side: int | None = None
    image_column: str | None = None
    label_column: str | None = None


@dataclass(frozen=True)
class Dealing:
    kind: str = "dirichlet"
    alpha: float = 0.5
    classes_per_client: int = 2
    shards_per_client: int = 2
    sizes: Sequence[int] = ()
    min_size: int = 2


def prepared(path: Path, format: str, cache: Path, **columns: str) -> Dataset:
    """Prepare a folder in a cache of its own and open it."""
    return open_dataset(prepare(Data(name="own", path=str(path), format=format, **columns), cache))


def some_images(count: int, *shape: int) -> np.ndarray:
    """Return `count` different uint8 images."""
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)
