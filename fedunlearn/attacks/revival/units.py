"""Units of a net: the row that computes one, the numbers that belong to it, and the weights that read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedunlearn.attacks.revival.masks import matrices
from fedunlearn.federation import Weights
from fedunlearn.observer.access import AccessRefused


@dataclass(frozen=True)
class Units:
    """The units of one matrix.

    Attributes:
        name: the tensor whose rows compute them.
        rows: (units, inputs), float64.
        vectors: by tensor, (units,): what stands between this matrix and the next, one number per unit: bias, gain,
            running statistics.
        reader: the tensor that reads them.
        outgoing: (units, what reads one of them), float64.
    """

    name: str
    rows: np.ndarray
    vectors: Weights
    reader: str
    outgoing: np.ndarray

    def placed(self, weights: Weights, rows: np.ndarray, vectors: Weights, outgoing: np.ndarray) -> Weights:
        """Return a model with other numbers for these units."""
        before = weights[self.reader]
        outputs = len(before)
        read = outgoing.reshape(len(rows), outputs, -1).transpose(1, 0, 2)
        new = {self.name: rows.reshape(weights[self.name].shape), self.reader: read.reshape(before.shape), **vectors}
        return weights | {name: array.astype(weights[name].dtype) for name, array in new.items()}


def units_of(weights: Weights, name: str) -> Units:
    """Return the units that a matrix computes.

    The next matrix reads them, as in nets without branches: its inputs must be as many per unit.

    Raises:
        AccessRefused: for the last matrix, or where the next one reads something else.
    """
    found, order = matrices(weights), list(weights)
    following = list(found)[list(found).index(name) + 1 :]
    if not following:
        raise AccessRefused(f"{name} is the last matrix: nothing reads its units")
    reader, count = following[0], len(found[name])
    inputs = found[reader].shape[1]
    if inputs % count:
        raise AccessRefused(f"{reader} has {inputs} inputs, {name} {count} units: it does not read them")
    between = order[order.index(name) + 1 : order.index(reader)]
    vectors = {n: weights[n].astype(np.float64) for n in between if weights[n].shape == (count,)}
    outgoing = found[reader].reshape(len(found[reader]), count, -1).transpose(1, 0, 2).reshape(count, -1)
    return Units(name, found[name], vectors, reader, outgoing)
