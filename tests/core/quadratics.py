"""A federation small enough for pencil and paper: client i has the loss 0.5 * |w - c_i|^2."""

import numpy as np

from fedunlearn.aggregation import gradient_step, weighted_mean
from fedunlearn.federation import Federation, Update
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.unlearning import History


class QuadraticEngine:
    """One gradient step of `learning_rate` per round; equal models on every client are its oracle."""

    def __init__(self, centres, learning_rate=0.5, kind="weights"):
        self.centres = {c: np.asarray(centre, np.float64) for c, centre in enumerate(centres)}
        self.learning_rate, self.kind, self.delivered = learning_rate, kind, 0

    def deliver(self, order):
        self.delivered += 1
        updates = []
        for client in sorted(order.jobs, reverse=True):  # the federation must not rely on the engine's order
            gradient = order.weights["w"] - self.centres[client]
            payload = {"w": gradient if self.kind == "gradient" else order.weights["w"] - self.learning_rate * gradient}
            updates.append(Update(client, self.kind, payload, 0))
        return updates

    def aggregate(self, weights, updates, state):
        mean = weighted_mean([u.payload for u in updates], [u.num_examples for u in updates])
        if self.kind == "gradient":
            mean = gradient_step(weights, mean, self.learning_rate, {"w"})
        return mean, state


def federation(centres, samples_per_client=4, journal=None, **engine):
    """Return (federation, engine): client c holds `samples_per_client` samples of its own."""
    worker = QuadraticEngine(centres, **engine)
    ids = [np.arange(c * samples_per_client, (c + 1) * samples_per_client) for c in range(len(centres))]
    return Federation(worker, ids, journal), worker


def ordinary(algorithm="fedavg", clients=10, **changes):
    """Return ordinary rounds over all clients."""
    settings = {"batch-size": 4, "learning-rate": 0.5, "local-epochs": 1}
    return OrdinaryRounds(seed=0, algorithm=algorithm, clients_per_round=clients, settings=settings, **changes)


def history_of(journal, rounds, start, training, learning_rate=0.5):
    """Return what the server has stored after `rounds` rounds of the branch "trunk"."""
    calls = tuple(("trunk.0", call) for call in range(1, rounds + 1))
    names = frozenset(start)
    nothing = np.empty((0, 1, 1, 1), np.float32)
    return History(
        journal, calls, start, lambda _: start, training, learning_rate, names, None, lambda: nothing, "cpu", 0
    )
