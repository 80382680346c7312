"""A federation of quadratic losses with its stored rounds: client i has the loss 0.5 * |w - c_i|^2."""

from dataclasses import dataclass, replace

import numpy as np

from fedunlearn.federation import Federation
from fedunlearn.journal import Journal
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning import UNLEARNERS, History
from tests.core.quadratics import federation, history_of, ordinary


@dataclass
class Past:
    """What there is when a request arrives."""

    model: dict[str, np.ndarray]
    trunk: Federation
    history: History

    def request(self, branch, gone):
        """Open a request of the clients `gone` on a branch and return it."""
        branch.open_request({client: branch.samples(client, "all") for client in gone})
        return UnlearningRequest("r", len(self.history.rounds), "client", tuple(gone), branch.current)

    def forget(self, name, gone, *, branch=None, scenario_rounds=2, model=None, history=None, **settings):
        """Return (the model without the clients `gone`, the branch)."""
        branch = branch or self.trunk.fork(name)
        unlearner = UNLEARNERS[name](UNLEARNERS[name].Settings(**settings), scenario_rounds)
        request = self.request(branch, gone)
        return unlearner(model or self.model, request, branch, history or self.history), branch


def trained(folder, centres, rounds, *, sizes=None, algorithm="fedavg", clients=10):
    """Return a federation after training from 0; client i holds `sizes[i]` samples (4)."""
    kind, journal = "gradient" if algorithm == "fedsgd" else "weights", Journal(folder)
    trunk, _ = federation(centres, journal=journal, kind=kind)
    if sizes:
        trunk._sample_ids = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    settings = {"batch-size": 100, "learning-rate": 0.5, "local-epochs": 1}  # one local step
    training = replace(ordinary(algorithm, clients=clients), settings=settings)
    start = {"w": np.zeros(len(centres[0]))}
    model = training.run(trunk, start, rounds)
    return Past(model, trunk, history_of(journal, rounds, start, training))
