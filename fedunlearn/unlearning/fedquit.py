"""FedQUIT: the client that leaves distils from a teacher that no longer favours the true class.

Source: Mora, Valerio, Bellavista and Passarella, "FedQUIT: On-Device Federated Unlearning via a Quasi-Competent
Virtual Teacher", arXiv 2408.07587. The teacher's logits are those of the model before unlearning with the true
class's logit replaced by a value v: the sample's smallest logit, or the v that maximises the teacher's entropy.
The student descends KL(teacher || student) on the forgotten data.

Scopes: client and sample as in the paper; class by extension. Who takes part: the clients that hold forgotten data,
then the retained ones in ordinary rounds. Needs from the server: nothing (more than one unlearning round: the model
before, sent along).

The entropy-maximising v. With q the softmax over the other classes and p the true class's share, the entropy is
h(p) + (1 - p) H(q); its derivative ln((1 - p) / p) - H(q) vanishes at v = logsumexp(others) - H(q) = sum_c q_c z_c.

Deviations: steps on forgotten data are taken in evaluation mode, so that batch normalisation keeps the statistics of
all data. Where several clients distil, their answers are weighted by their numbers of forgotten samples; retained data
of their own (class and sample scope) play no part before the ordinary rounds. Defaults suit small federations; the
source's: learning rate 1e-4.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.federation import Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.distillation import divergence, original, original_teacher
from fedunlearn.unlearning.local import answer, evaluation_mode, one_pass, optimiser, read, step
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, method_task

Value = Literal["min", "entropy"]


class FedQuitSettings(LocalSettings):
    """Hyper-parameters of FedQUIT."""

    epochs: int = Field(default=5, ge=1, description="Local passes per unlearning round.")
    optimiser: Literal["sgd", "adam"] = Field(default="adam", description="Of the local steps.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Of the local steps.")
    value: Value = Field(
        default="min",
        description="What the teacher's true-class logit becomes: the smallest, or what makes entropy largest.",
    )


@UNLEARNERS.register("fedquit")
class FedQuit(HoldersUnlearner):
    """Distil, on the forgotten data, from the old model with its true-class logit taken down."""

    Settings = FedQuitSettings
    view = "forget"

    def task(self, before: Weights, history: History) -> Task:
        """Return the distillation."""
        attachments = original(before, self.settings)
        return method_task("fedquit", self.settings, history.training, attachments=attachments)


@CLIENT_TASKS.register("fedquit")
def distil(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Imitate the virtual teacher on what is to be forgotten; sends the weights."""
    chosen = read(FedQuitSettings, settings)
    model, old = client.model, original_teacher(client)
    draws, moved = client.rng("unlearning"), optimiser(model, chosen)
    everything, losses = np.arange(len(client.sample_ids)), []
    with evaluation_mode(model):
        for _ in range(chosen.epochs):
            for positions in one_pass(draws, everything, chosen.batch_size):
                images, labels = client.take(positions)
                target = virtual_teacher(old(images), labels, chosen.value)
                losses.append(step(moved, divergence(model(images), target)))
    return answer(client, first_loss=losses[0], loss=losses[-1])


def virtual_teacher(logits: Tensor, labels: Tensor, value: Value) -> Tensor:
    """Return `logits` (n, K) with the entry of each sample's label (n,) replaced; all others are kept."""
    true = labels[:, None]
    if value == "min":
        return logits.scatter(1, true, logits.amin(1, keepdim=True))
    shares = torch.softmax(logits.scatter(1, true, -torch.inf), 1)
    return logits.scatter(1, true, (shares * logits).sum(1, keepdim=True))
