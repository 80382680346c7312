"""Stored rounds read back: each client's change of the model, and the weight that it had in the round's mean.

The weights are those of the weighted mean. Under a server strategy with a memory or a step of its own the model moved
otherwise; what is said here of the mean is then said of what entered that strategy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fedunlearn.federation import Update, Weights
from fedunlearn.unlearning.base import History
from fedunlearn.unlearning.vectors import flatten


@dataclass(frozen=True)
class StoredRound:
    """A finished round of ordinary training.

    Attributes:
        call: the branch's call counter in that round, which decides what its clients drew.
        broadcast: the model that the clients started from.
        deltas: each client's change of it, by client id; buffers as the difference to the broadcast ones.
        sizes: the number of samples behind each change.
    """

    call: int
    broadcast: Weights
    deltas: dict[int, Weights]
    sizes: dict[int, int]

    @property
    def shares(self) -> dict[int, float]:
        """Each client's weight in the round's mean; they sum to 1."""
        total = sum(self.sizes.values())
        return {client: size / total for client, size in self.sizes.items()}

    def only(self, kept: Callable[[int], bool]) -> StoredRound:
        """Return the round as if only the clients for which `kept` is true had taken part."""
        deltas = {client: delta for client, delta in self.deltas.items() if kept(client)}
        return replace(self, deltas=deltas, sizes={client: self.sizes[client] for client in deltas})

    def contribution(self, gone: Callable[[int], bool], parameters: frozenset[str]) -> np.ndarray:
        """Return the part of the round's mean change that clients in `gone` brought in, as `flatten` lays it out."""
        total = np.zeros(sum(array.size for name, array in self.broadcast.items() if name in parameters))
        for client, share in self.shares.items():
            if gone(client):
                total += share * flatten(self.deltas[client], parameters)
        return total

    def mean(self, parameters: frozenset[str]) -> np.ndarray:
        """Return the mean change, zero if nobody took part, as `flatten` lays it out."""
        return self.contribution(lambda client: True, parameters)

    def residual(self, gone: Callable[[int], bool], parameters: frozenset[str]) -> np.ndarray:
        """Return the mean change less what it would be without the clients in `gone`, as `flatten` lays it out.

        For one client i of weight p this is p / (1 - p) * (its change - the mean change). Where nobody is left, the
        model would have stayed where it was.
        """
        return self.mean(parameters) - self.only(lambda client: not gone(client)).mean(parameters)


def read_round(history: History, branch: str, call: int) -> StoredRound:
    """Return a stored round; clients without a usable update are not in it."""
    broadcast, outcomes = history.archive.read(branch, call)
    updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
    deltas = {update.client_id: delta_of(update, broadcast, history) for update in updates}
    return StoredRound(call, broadcast, deltas, {update.client_id: update.num_examples for update in updates})


def delta_of(update: Update, broadcast: Weights, history: History) -> Weights:
    """Return the client's change of the model; buffers as the difference to the broadcast ones."""
    if update.kind == "weights":
        return {name: update.payload[name] - array for name, array in broadcast.items()}
    return {
        name: -history.learning_rate * update.payload[name]
        if name in history.parameters
        else update.payload[name] - array
        for name, array in broadcast.items()
    }
