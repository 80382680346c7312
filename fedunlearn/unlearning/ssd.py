"""SSD: dampen the weights that matter more to the forgotten data than to all data; nobody trains.

Source: Foster, Schoepf and Brintrup, "Fast Machine Unlearning Without Retraining Through Selective Synaptic
Dampening", AAAI 2024 (arXiv 2308.07707). A weight's importance F is the mean over batches of its squared batch
gradient, F_f over the forgotten data, F_D over all of them. Where F_f > alpha * F_D, the weight is multiplied by
min(lambda * F_D / F_f, 1).

Scopes: all. Who takes part: the clients that hold forgotten data send F_f, all that hold data send F_D. The server
weights a client's importances by its number of batches, so the aggregate is the mean over the batches of all clients.
Needs from the server: nothing. The replies are statistics.

Deviations: the squared gradient of a batch is no mean of per-sample squares and shrinks with the batch, so one
batch size serves both sets. Gradients are taken in evaluation mode: no buffer moves, and no sample's gradient
depends on its batch. `recovery-rounds` ordinary rounds may follow; the paper has none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field

from fedunlearn.aggregation import weighted_mean
from fedunlearn.federation import Federation, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.local import one_pass, read
from fedunlearn.unlearning.phases import ask, install, method_task


class SsdSettings(Settings):
    """Hyper-parameters of SSD."""

    alpha: float = Field(default=10.0, gt=0, description="How many times more important to the forgotten data.")
    dampening: float = Field(default=1.0, gt=0, description="lambda: weights keep this times the ratio, at most all.")
    batch_size: int = Field(default=16, ge=1, description="Samples per squared gradient, of either set.")
    recovery_rounds: int = Field(default=0, ge=0, description="Ordinary rounds on retained data afterwards.")


@UNLEARNERS.register("ssd")
class SelectiveSynapticDampening(Unlearner):
    """Dampen the weights that matter more to the forgotten data than to all data."""

    Settings = SsdSettings
    takes_part = "everyone"

    @property
    def extra_rounds(self) -> int:
        """The recovery rounds; the two rounds of importances are beside them."""
        return int(self.settings.recovery_rounds)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the dampened model, after the recovery if there is one."""
        task = method_task("ssd", self.settings, history.training, reply="statistics")
        of_forgotten = pooled(ask(task, weights, federation.holders("forget"), federation, "forget"))
        of_all = pooled(ask(task, weights, federation.holders("all"), federation, "all"))
        dampened = weights | {
            name: dampen(weights[name], of_all[name], of_forgotten[name], self.settings.alpha, self.settings.dampening)
            for name in weights
            if name in history.parameters
        }
        return history.training.run(federation, install(dampened, federation), self.extra_rounds)


@CLIENT_TASKS.register("ssd")
def importances(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Send the mean squared batch gradient of every parameter, and "batches", how many that were."""
    model, size = client.model.eval(), read(SsdSettings, settings).batch_size
    parameters = dict(model.named_parameters())
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    batches = list(one_pass(client.rng("unlearning"), np.arange(len(client.sample_ids)), size))
    for positions in batches:
        gradients = torch.autograd.grad(model.loss(*client.take(positions)), list(parameters.values()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total += gradient.square()
    payload = {name: (total / len(batches)).numpy(force=True) for name, total in sums.items()}
    return Update(client.client_id, "statistics", payload | {"batches": np.array(len(batches))}, len(client.sample_ids))


def pooled(updates: Sequence[Update]) -> Weights:
    """Return the clients' importances as the mean over the batches of all of them."""
    counts = [int(update.payload["batches"]) for update in updates]
    return weighted_mean([update.payload for update in updates], counts)


def dampen(
    theta: np.ndarray, of_all: np.ndarray, of_forgotten: np.ndarray, alpha: float, strength: float
) -> np.ndarray:
    """Return `theta`, multiplied by min(strength * of_all / of_forgotten, 1) where of_forgotten > alpha * of_all.

    The importances have the shape of `theta` and are not negative.
    """
    whole, part = of_all.astype(np.float64), of_forgotten.astype(np.float64)
    chosen = part > alpha * whole
    factor = np.minimum(strength * np.divide(whole, part, out=np.ones_like(whole), where=chosen), 1)
    return np.where(chosen, theta * factor, theta).astype(theta.dtype)
