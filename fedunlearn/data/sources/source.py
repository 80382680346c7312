"""What a reader hands over, whatever the format: images, labels, and what to call them in a message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedunlearn.data.settings import DataSettings
from fedunlearn.data.sources.pictures import Pictures
from fedunlearn.registry import Registry


@dataclass(frozen=True, eq=False)
class Part:
    """The samples of a source's training or test part, in its own order.

    Attributes:
        where: the file of the images, or their folder and part, for messages.
        images: (n, C, H, W) of uint8, uint16 or float32, or encoded pictures.
        labels: (n,) as found; checked when they are stored.
        labels_where: the file of the labels, where that is another.
    """

    where: str
    images: np.ndarray | Pictures
    labels: np.ndarray
    labels_where: str = ""

    def row(self, number: int) -> str:
        """Return what to call a row in a message about its label."""
        return f"{self.labels_where or self.where}, row {number}"


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as found.

    Attributes:
        train: the samples; all of them where the source has no test part.
        test: the part that the source itself sets apart for testing.
        class_names: None where the source has none; the classes are then called "0", "1", ...
        scale: the value of a white pixel.
    """

    train: Part
    test: Part | None = None
    class_names: tuple[str, ...] | None = None
    scale: int = 255

    @property
    def parts(self) -> list[Part]:
        """The training part, then the test part if there is one."""
        return [part for part in (self.train, self.test) if part is not None]


# (the folder or file, settings, a scratch folder that is deleted afterwards) -> what is in it
Reader = Callable[[Path, DataSettings, Path], Source]
FORMATS: Registry[Reader] = Registry("data format")
DATASETS: Registry[Callable[[], Source]] = Registry("built-in data set")
