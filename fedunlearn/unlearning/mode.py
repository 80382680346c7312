"""MoDe: drag the model towards one that is trained anew, while that one guides what it says of the forgotten data.

Source: Y. Zhao, Wang, Qi, Huang, Wei and Zhang, "Federated Unlearning with Momentum Degradation", IEEE Internet of
Things Journal 2023. Every round: (i) the degradation model M_de, random at first, takes one FedAvg round on the
retained data; (ii) M <- lambda * M + (1 - lambda) * M_de; (iii) guidance: everybody trains M, the clients that leave on
the labels that M_de gives to their data (argmax), the others on their own; M is the mean of theirs. Some rounds of
guidance alone may follow.

Scopes: client as in the paper; class and sample by extension, where a client that holds both trains on both, M_de's
labels on what it forgets and its own on the rest. Who takes part: everyone; M_de learns from retained data alone. Needs
from the server: nothing.

Deviations: M_de takes rounds of local epochs under FedSGD too; a few gradients would leave it as random as it was. The
paper's lambda of 0.95 is for some 56 rounds, after which 5.7 % of the old model are left; the default reaches that in 8
rounds. M_de is evaluated, and labels data, with its own batch-norm statistics. It starts from a draw of the
initialisation that no retraining starts from. Defaults suit small federations; the source's: learning rate 5e-4.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import Field

from fedunlearn.aggregation import weighted_mean
from fedunlearn.federation import Federation, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.distillation import teacher
from fedunlearn.unlearning.local import answer, one_pass, optimiser, parts, read, step
from fedunlearn.unlearning.phases import LocalSettings, ask, average, method_task
from fedunlearn.unlearning.server_draws import DEGRADATION

LABELLED_AT_ONCE = 256


class ModeSettings(LocalSettings):
    """Hyper-parameters of MoDe; what concerns local steps is for the guidance."""

    rounds: int = Field(default=8, ge=1, description="Rounds of degradation and guidance.")
    recovery_rounds: int = Field(default=2, ge=0, description="Rounds of guidance alone afterwards.")
    keep: float = Field(
        default=0.7, ge=0, le=1, description="lambda: the share of the model that each degradation keeps."
    )
    learning_rate: float = Field(default=0.02, gt=0, description="Of the local steps.")


@UNLEARNERS.register("mode")
class MomentumDegradation(Unlearner):
    """Drag the model towards one that is trained anew and labels the forgotten data."""

    Settings = ModeSettings
    takes_part = "everyone"

    @property
    def extra_rounds(self) -> int:
        """Two for every degradation, M_de's and the guidance, and the guidance alone."""
        return 2 * int(self.settings.rounds) + int(self.settings.recovery_rounds)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the degraded and guided model."""
        fedavg = replace(history.training, algorithm="fedavg")
        degrading = history.fresh(DEGRADATION)
        for number in range(self.settings.rounds + self.settings.recovery_rounds):
            if number < self.settings.rounds:
                updates = fedavg.collect(federation, degrading, fedavg.task())
                degrading = weighted_mean([u.payload for u in updates], [u.num_examples for u in updates])
                weights = degraded(weights, degrading, self.settings.keep)
            everyone = sorted({*federation.holders("forget"), *fedavg.participants(federation)})
            guidance = method_task("mode", self.settings, history.training, attachments=degrading)
            weights = average(ask(guidance, weights, everyone, federation, "all"), federation)
        return weights


def degraded(weights: Weights, degrading: Weights, keep: float) -> Weights:
    """Return keep * weights + (1 - keep) * degrading; integer buffers are those of `weights`."""
    return {
        name: (keep * array.astype(np.float64) + (1 - keep) * degrading[name]).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in weights.items()
    }


@CLIENT_TASKS.register("mode")
def guide(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Local epochs on all data of the view, the forgotten ones with M_de's labels; sends the weights."""
    local, model, draws = read(ModeSettings, settings), client.model, client.rng("unlearning")
    labels, (forgotten, _) = client.labels.clone(), parts(client)
    labeller = teacher(client, client.attachments)
    for start in range(0, len(forgotten), LABELLED_AT_ONCE):
        some = forgotten[start : start + LABELLED_AT_ONCE]
        with torch.no_grad():
            labels[some] = labeller(client.take(some)[0]).argmax(1)
    mover = optimiser(model, local)
    for _ in range(local.epochs):
        for batch in one_pass(draws, np.arange(len(labels)), local.batch_size):
            images, _ = client.take(batch)
            step(mover, model.loss(images, labels[batch]))
    return answer(client)
