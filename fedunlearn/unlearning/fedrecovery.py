"""FedRecovery: subtract a weighted sum of what the forgotten clients changed in every round, then add noise.

Source: L. Zhang, Zhu, H. Zhang, Xiong and Zhou, "FedRecovery: Differentially Private Machine Unlearning for Federated
Learning Frameworks", IEEE TIFS 2023 (algorithm 2). The residual of round t is r_t = Delta_t - Delta_t without the
forgotten clients, with Delta_t the mean of the clients' changes; for one of N equal clients it is
(Delta_{i,t} - Delta_t) / (N - 1). Then theta_u = theta_T - sum_t q_t r_t + N(0, sigma^2 I) with
q_t = |Delta_t|^2 / sum_s |Delta_s|^2, so rounds in which the model moved far count most.

Scope: client, whole: a stored update cannot be divided, so a client that asks to forget a part of its data loses all of
its updates. Who takes part: the server alone. Needs from the server: every client's update and the model of every round
(rounds x (clients + 1) x model size on disk).

Deviations: the paper's gradients are the clients' changes of the model. The q_t are normalised over all rounds; the
paper can also be read so that round t divides by the sum up to t. With unequal clients every mean is weighted as in its
round. sigma is given (`noise`) and not derived from a privacy budget: the bound on the distance to the retrained model
that this takes holds constants of the loss that nobody knows for a network. So no guarantee comes with it. Clients that
an earlier request removed are left out of every mean; one that keeps a part of its data goes on training, and its
updates are subtracted all the same. Buffers stay as they are.
"""

import numpy as np
from pydantic import Field

from fedunlearn.federation import Federation, Weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.phases import install
from fedunlearn.unlearning.server_draws import server_rng
from fedunlearn.unlearning.stored import read_round
from fedunlearn.unlearning.vectors import flatten, inner, moved


class FedRecoverySettings(Settings):
    """Hyper-parameters of FedRecovery."""

    noise: float = Field(default=5e-3, ge=0, description="sigma, standard deviation of the noise on every weight.")


@UNLEARNERS.register("fedrecovery")
class FedRecovery(Unlearner):
    """Subtract a weighted sum of what the forgotten clients changed in every stored round, then add noise."""

    Settings = FedRecoverySettings
    scopes = frozenset({"client"})
    limits = "it takes out the stored updates of whole clients"
    takes_part = "server"
    stores = "updates"

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the corrected model."""
        parameters, gone = history.parameters, request.samples
        correction, total = np.zeros_like(flatten(weights, parameters)), 0.0
        for branch, call in history.rounds:
            stored = read_round(history, branch, call).only(lambda client: federation.num_examples(client, "all") > 0)
            change = stored.mean(parameters)
            correction += inner(change, change) * stored.residual(lambda client: client in gone, parameters)
            total += inner(change, change)
        noise = server_rng(federation, history).normal(0.0, self.settings.noise, len(correction))
        unlearned = moved(weights, noise - (correction / total if total else 0.0), parameters)
        return install(unlearned, federation)
