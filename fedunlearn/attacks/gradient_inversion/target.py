"""What a search has to go by: the gradient to be matched, the labels, and what the client did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fedunlearn.attacks.gradient_inversion.simulation import LocalWork
from fedunlearn.federation import Weights


@dataclass(frozen=True, eq=False)
class Target:
    """What is known of one update.

    Attributes:
        gradient: what is to be matched, by parameter name; parameters that it lacks stand still.
        labels: (copies, n), in the order of the client's steps.
        work: what the client did.
        statistics: mean and variance of each layer of batch normalisation, where they are known.
        trained: whether the model normalises by the batch, as in training, or by its running statistics.
    """

    gradient: Weights
    labels: np.ndarray
    work: LocalWork
    statistics: Sequence[tuple[np.ndarray, np.ndarray]] = field(default=())
    trained: bool = False

    @property
    def equations(self) -> int:
        """How many observed entries are not zero: a unit that is off for every image says nothing of any."""
        return sum(int(np.count_nonzero(array)) for array in self.gradient.values())

    def unknowns(self, image_shape: Sequence[int]) -> int:
        """Return how many pixels are sought: those of every image, once."""
        return self.work.images * int(np.prod(image_shape))
