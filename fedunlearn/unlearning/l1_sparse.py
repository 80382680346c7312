"""l1-sparse: go on training on the retained data under an l1 penalty that decays to nothing.

Source: Jia, Liu, Ram, Yao, G. Liu, Y. Liu, Sharma and S. Liu, "Model Sparsity Can Simplify Machine Unlearning",
NeurIPS 2023 (arXiv 2304.04934). Minimises `CE(D_r) + alpha_t * |theta|_1`,
`alpha_t = alpha * (1 - t / (T - T0))` for t < T - T0, then 0; T steps of the schedule, the last T0 without penalty.

Scopes: all. Who takes part: the retained clients. Needs from the server: nothing.

Deviations: a step t of the schedule is a round of the federation, whatever its local epochs. Everything else is the
federation's own training, the memory of a server optimiser included, so with alpha = 0 this is `finetune`, bit for bit.
The norm covers all parameters, biases and normalisation layers included, and its subgradient is taken (0 at 0): small
weights come to lie around zero, not at it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.federation import Federation, Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.learning.training import gradient, train
from fedunlearn.models import Classifier
from fedunlearn.requests import UnlearningRequest
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner


class L1SparseSettings(Settings):
    """Hyper-parameters of the penalty."""

    alpha: float = Field(default=2e-3, ge=0, description="Weight of the l1 norm in the first round.")
    rounds_without: int = Field(default=0, ge=0, description="T0: rounds without penalty at the end.")


@UNLEARNERS.register("l1-sparse")
class L1Sparse(Unlearner):
    """Continue ordinary training on the retained data under a decaying l1 penalty."""

    Settings = L1SparseSettings

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after `rounds` rounds on retained data."""
        for alpha in schedule(self.settings.alpha, self.rounds, self.settings.rounds_without):
            updates = history.training.collect(federation, weights, penalised(history.training, alpha))
            weights, federation.state = federation.aggregate(weights, updates, federation.state)
        return weights


def schedule(alpha: float, rounds: int, without: int) -> list[float]:
    """Return the penalty of each round."""
    decaying = max(rounds - without, 0)
    return [alpha * (1 - t / decaying) if t < decaying else 0.0 for t in range(rounds)]


def penalised(training: OrdinaryRounds, alpha: float) -> Task:
    """Return the ordinary task, with its penalty if there is one."""
    ordinary = training.task()
    if not alpha:
        return ordinary
    return replace(ordinary, name=f"l1-sparse-{ordinary.name}", settings={**ordinary.settings, "l1": alpha})


@CLIENT_TASKS.register("l1-sparse-train")
def l1_sparse_train(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """FedAvg's local epochs under the penalty; sends the weights."""
    with penalty(client.model, settings["l1"]):
        return train(client, settings)


@CLIENT_TASKS.register("l1-sparse-gradient")
def l1_sparse_gradient(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """FedSGD's gradient with that of the penalty."""
    with penalty(client.model, settings["l1"]):
        return gradient(client, settings)


@contextmanager
def penalty(model: Classifier, alpha: float) -> Iterator[None]:
    """Add alpha times the l1 norm of all parameters to the model's loss within the block."""
    plain = model.loss

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        norm = torch.stack([parameter.abs().sum() for parameter in model.parameters()]).sum()
        return plain(images, labels) + alpha * norm

    model.loss = loss  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.loss
