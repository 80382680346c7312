"""Exact retraining: the oracle that every other method is measured against.

Source: Cao and Yang, "Towards Making Systems Forget with Machine Unlearning", IEEE S&P 2015.
Scopes: all. Who takes part: the retained clients, in every round. Needs from the server: the initialisation
only. Same schedule, client sampling and batch streams as the original run, so with an empty forget set the
result is the original model, bit for bit.
"""

from fedunlearn.federation import Federation, Weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner


@UNLEARNERS.register("retrain")
class Retrain(Unlearner):
    """Train again from the original initialisation as if the forgotten data had never been there."""

    replica = 0

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model retrained on retained data for as many rounds as the original had."""
        federation.restart()
        return history.training.run(federation, history.fresh(self.replica), len(history.rounds))


@UNLEARNERS.register("retrain-other-init")
class RetrainOtherInit(Retrain):
    """Train again on the retained data from another initialisation."""

    replica = 1
