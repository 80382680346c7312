"""What both sides of the inversion benchmark are given: images, a model, its gradient, starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedunlearn.data import local_copy, open_dataset, prepare
from fedunlearn.federation import Weights
from fedunlearn.models import Architecture, Classifier, build
from fedunlearn.models.base import PixelStats
from fedunlearn.scenario.sections import DataSettings

SIDE = 32


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        model: a name in `MODELS`.
        batch: images in the gradient, all of different classes.
        steps: iterations of a restart.
        target: how many times the peer's trial throughput is hoped for.
    """

    model: str
    batch: int
    steps: int
    target: float

    @property
    def name(self) -> str:
        """The beginning of its figures' names."""
        return f"{self.model.replace('-', '_')}_b{self.batch}"


@dataclass(frozen=True, eq=False)
class Case:
    """One gradient to be inverted, and where every restart begins.

    Attributes:
        architecture: of the model.
        pixel_stats: how the model normalises.
        weights: of the model, untrained.
        images: (n, C, H, W) in [0, 1], what is looked for.
        labels: int64 (n,), known to everybody.
        gradient: of the mean loss, by parameter name.
        starts: (restarts, n, C, H, W) in normalised space, N(0, 1) moved into the box: one side moves them there before
            the first evaluation, the other one after it.
    """

    architecture: Architecture
    pixel_stats: PixelStats
    weights: Weights
    images: np.ndarray
    labels: np.ndarray
    gradient: Weights
    starts: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def model(self) -> Classifier:
        """Return the model with its weights."""
        return _model(self.architecture, self.shape, self.pixel_stats, self.weights)


class Pictures:
    """Colour images of 32x32 pixels that no model has seen.

    CIFAR-10's test part where this machine has a copy, otherwise the built-in mnist-5k, framed and in three channels.

    Attributes:
        name: which it is.
    """

    def __init__(self) -> None:
        folder = local_copy("uoft-cs/cifar10")
        settings = DataSettings(path=str(folder), format="parquet") if folder else DataSettings(name="mnist-5k")
        self.name = "CIFAR-10 test images" if folder else "mnist-5k in 3x32x32 (CIFAR-10 was not found)"
        self._dataset = open_dataset(prepare(settings))
        self._first = len(self._dataset) - self._dataset.num_own_test if folder else 0
        sample = self._read(np.arange(self._first, self._first + 1000)).transpose(1, 0, 2, 3).reshape(3, -1)
        self.stats: PixelStats = (sample.mean(axis=1).tolist(), sample.std(axis=1).tolist())

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return images (count, 3, 32, 32) of different classes, and their labels."""
        rows = rng.permutation(np.arange(self._first, len(self._dataset)))
        labels, first = np.unique(self._dataset.labels(rows), return_index=True)
        chosen = rng.permutation(len(labels))[:count]
        return self._read(rows[first[chosen]]), labels[chosen]

    def _read(self, rows: np.ndarray) -> np.ndarray:
        images = self._dataset.images(rows)
        frame = [(SIDE - side) // 2 for side in images.shape[2:]]
        framed = np.pad(images, ((0, 0), (0, 0), *((width, width) for width in frame)))
        return np.repeat(framed, 3 // framed.shape[1], axis=1)


def make_case(row: Row, pictures: Pictures, restarts: int, rng: np.random.Generator) -> Case:
    """Return new images, a new model and new starts."""
    images, labels = pictures.draw(row.batch, rng)
    architecture, shape = Architecture(row.model), (3, SIDE, SIDE)
    model = build(architecture, shape, 10, rng, pictures.stats)
    loss = model.loss(torch.from_numpy(images), torch.from_numpy(labels))
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    names = [name for name, _ in model.named_parameters()]
    box = [((edge - model.mean) / model.std).numpy() for edge in (0, 1)]
    starts = np.clip(rng.standard_normal((restarts, row.batch, *shape), np.float32), *box)
    weights = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    observed = {name: g.numpy() for name, g in zip(names, gradients, strict=True)}
    return Case(architecture, pictures.stats, weights, images, labels, observed, starts)


def save_case(case: Case, file: Path) -> None:
    """Write what an attacker is given, for another process."""
    arrays = {f"weights/{name}": array for name, array in case.weights.items()}
    arrays |= {f"gradient/{name}": array for name, array in case.gradient.items()}
    np.savez(file, labels=case.labels, starts=case.starts, **arrays)


def to_pixels(model: Classifier, candidate: Tensor) -> np.ndarray:
    """Return normalised images as images in [0, 1]."""
    return (model.mean + model.std * candidate).clamp(0, 1).numpy(force=True)


def _model(architecture: Architecture, shape: tuple[int, int, int], stats: PixelStats, weights: Weights) -> Classifier:
    model = build(architecture, shape, 10, None, stats)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model.eval()
