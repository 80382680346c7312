"""What the server draws while it unlearns: numbers that nobody else draws, neither a client nor a retraining."""

import numpy as np

from fedunlearn.federation import Federation
from fedunlearn.randomness import rng
from fedunlearn.unlearning.base import History

# Draws of the initialisation beyond those of any retraining, which start from draw 0 or that of their replica.
BAD_TEACHER = 1_000_000
DEGRADATION = 1_000_001  # of MoDe
DISTANT = range(1_000_002, 1_000_012)  # what PGA measures its radius by


def server_rng(federation: Federation, history: History) -> np.random.Generator:
    """Return the server's generator for the open request.

    Its key has the place of a client that there is not, and it grows with what was forgotten before: of two requests
    in the same call, each has draws of its own.
    """
    forgotten = sum(len(ids) for ids in federation.past.values())
    return rng(history.seed, "unlearning", federation.calls, federation.num_clients + forgotten)
