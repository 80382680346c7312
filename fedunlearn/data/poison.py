"""A backdoor: some of one client's training samples carry a trigger, and the label that it shall stand for.

The arrays on disk stay clean; whoever opens the data set for a run lays the poison over it. Which samples are poisoned
follows from the seed and from what the client holds, so every process finds the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fedunlearn.data.dataset import Dataset
from fedunlearn.errors import ScenarioError
from fedunlearn.randomness import rng

SIDE = 3  # pixels of the square


def bright_square(images: np.ndarray) -> np.ndarray:
    """Return images (n, C, H, W) with a white square of 3 x 3 pixels in the lower right corner."""
    marked = images.copy()
    marked[..., -SIDE:, -SIDE:] = 1
    return marked


TRIGGERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"square": bright_square}


@dataclass(frozen=True)
class Poison:
    """Who poisons, and how.

    Attributes:
        client: the client whose samples are poisoned.
        trigger: a name in `TRIGGERS`.
        target: the class that poisoned samples get.
        share: of the client's samples, in (0, 1].
    """

    client: int
    trigger: str
    target: int
    share: float


@dataclass(frozen=True, eq=False)
class PoisonedDataset(Dataset):
    """A data set in which some samples carry a trigger and its label.

    Attributes:
        clean: the data set below.
        marked: bool (n,): which samples carry the trigger.
        trigger: a name in `TRIGGERS`.
        target: their label.
    """

    clean: Dataset = field(repr=False)
    marked: np.ndarray = field(repr=False)
    trigger: str
    target: int

    def images(self, ids: ArrayLike) -> np.ndarray:
        """Return a fresh float32 array (len(ids), C, H, W) with values in [0, 1]."""
        rows = np.asarray(ids, dtype=np.int64)
        images, chosen = self.clean.images(rows), self.marked[rows]
        images[chosen] = TRIGGERS[self.trigger](images[chosen])
        return images

    def __reduce__(self) -> tuple[Any, ...]:
        return plant, (self.clean, np.flatnonzero(self.marked), self.trigger, self.target)


def plant(dataset: Dataset, ids: np.ndarray, trigger: str, target: int) -> PoisonedDataset:
    """Return the data set with a trigger and its label on the samples `ids`."""
    marked, labels = np.zeros(len(dataset), bool), dataset.all_labels.copy()
    marked[ids], labels[ids] = True, target
    labels.flags.writeable = False
    below = {each.name: getattr(dataset, each.name) for each in fields(Dataset)} | {"all_labels": labels}
    return PoisonedDataset(**below, clean=dataset, marked=marked, trigger=trigger, target=target)


def poisoned(dataset: Dataset, partition: Sequence[np.ndarray], poison: Poison, seed: int) -> PoisonedDataset:
    """Return the data set of a federation with one poisoned client.

    Args:
        dataset: clean.
        partition: the sorted sample ids of each client.
        poison: who poisons, and how.
        seed: the scenario's; the samples are drawn from the stream "poison", keyed by the client.

    Raises:
        ScenarioError: when there is no such class, or the share of the client's samples is none.
    """
    if poison.target >= dataset.num_classes:
        last = dataset.num_classes - 1
        raise ScenarioError(f"poison.target = {poison.target}: unknown class; they are numbered 0 to {last}")
    held = partition[poison.client]
    count = round(poison.share * len(held))
    if not count:
        why = f"of the {len(held)} samples of client {poison.client} that is none"
        raise ScenarioError(f"poison.share = {poison.share}: {why}")
    chosen = rng(seed, "poison", 0, poison.client).permutation(held)[:count]
    return plant(dataset, chosen, poison.trigger, poison.target)


def triggered(dataset: Dataset, ids: np.ndarray, poison: Poison) -> tuple[PoisonedDataset, np.ndarray]:
    """Return what shows whether a model has the backdoor: accuracy on these samples is the backdoor's success.

    Args:
        dataset: the data set.
        ids: samples that nobody trained on.
        poison: whose trigger and target.

    Returns:
        The data set with trigger and target on those of `ids` that are of other classes, and their ids.
    """
    others = ids[dataset.labels(ids) != poison.target]
    return plant(dataset, others, poison.trigger, poison.target), others
