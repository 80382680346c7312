"""Rapid retraining: start over without the forgotten data, with steps scaled by the diagonal of the Hessian.

Source: Yi Liu, Lei Xu, Xingliang Yuan, Cong Wang and Bo Li, "The Right to be Forgotten in Federated Learning: An
Efficient Realization with Rapid Retraining", INFOCOM 2022 (arXiv 2203.07320); the step is that of Yao et al.,
"ADAHESSIAN", AAAI 2021 (arXiv 2006.00719), equations 7 to 9. Hutchinson's estimate `h = z * (H z)` with random signs z
takes the place of Adam's gradient in the second moment:
`w <- (1 - eta * lambda) * w - eta * m / (1 - beta1^t) / ((v / (1 - beta2^t))^(kappa / 2) + epsilon)`.

Scopes: all. Who takes part: the retained clients. Needs from the server: the initialisation only.

Deviations: the signs are drawn anew for every client and step; h is not averaged over the entries of a convolution's
kernel. As clients keep no state, moments start at zero in every round, as the momentum of ordinary training does. A
moment of few draws is often close to zero, so the default epsilon is 0.01: with 1e-8, as in public code, a net does not
learn the built-in digits at this learning rate, with 0.01 it needs fewer rounds than SGD. The batches are those of
ordinary rounds, and so are clients per round. Whatever algorithm and strategy trained the model, clients send weights
and the server takes their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.federation import Federation, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.local import answer, read
from fedunlearn.unlearning.phases import average, method_task


class RapidRetrainSettings(Settings):
    """Hyper-parameters of rapid retraining; local epochs and batch size are the federation's."""

    rounds: int | None = Field(default=None, ge=1, description="Rounds of retraining; absent: unlearning.rounds.")
    learning_rate: float = Field(default=0.05, gt=0, description="Of the local steps.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Decay of the mean gradient.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Decay of the mean squared diagonal.")
    epsilon: float = Field(default=0.01, gt=0, description="Added to the denominator: no step exceeds m / epsilon.")
    hessian_power: float = Field(default=1.0, gt=0, le=1, description="1: Newton's scaling; towards 0: none.")
    weight_decay: float = Field(default=0.0, ge=0, description="Taken off the weights, times the learning rate.")


@UNLEARNERS.register("rapid-retrain")
class RapidRetrain(Unlearner):
    """Train again from the initialisation on retained data, in fewer rounds of diagonal Newton steps."""

    Settings = RapidRetrainSettings

    @property
    def extra_rounds(self) -> int:
        """The rounds of retraining."""
        return int(self.settings.rounds or self.rounds)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the retrained model."""
        federation.restart()
        task = method_task("rapid-retrain", self.settings, history.training)
        task = replace(task, settings={**history.training.settings, **task.settings})
        model = history.initial
        for _ in range(self.extra_rounds):
            model = average(history.training.collect(federation, model, task), federation)
        return model


@CLIENT_TASKS.register("rapid-retrain")
def newton_epochs(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Go over the view for the federation's local epochs; send the weights."""
    steps = DiagonalNewton(list(client.model.parameters()), read(RapidRetrainSettings, settings))
    draws = client.rng("unlearning")
    for positions in client.epoch_batches(settings["batch-size"], settings.get("local-epochs", 1)):
        steps.step(client.model.loss(*client.take(positions)), draws)
    return answer(client)


class DiagonalNewton:
    """Adam whose second moment is that of the Hessian's estimated diagonal.

    Args:
        parameters: what is moved, in place.
        settings: the step sizes.
    """

    def __init__(self, parameters: Sequence[Tensor], settings: RapidRetrainSettings) -> None:
        self._parameters, self._settings, self._steps = parameters, settings, 0
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in parameters]

    def step(self, loss: Tensor, draws: np.random.Generator) -> None:
        """Go one step down `loss`."""
        own, self._steps = self._settings, self._steps + 1
        gradients, diagonals = derivatives(loss, self._parameters, draws)
        rows = zip(self._parameters, gradients, diagonals, self._means, self._squares, strict=True)
        with torch.no_grad():
            for parameter, gradient, diagonal, mean, square in rows:
                mean.lerp_(gradient, 1 - own.beta1)
                square.lerp_(diagonal.square(), 1 - own.beta2)
                scale = (square / (1 - own.beta2**self._steps)) ** (own.hessian_power / 2) + own.epsilon
                parameter.mul_(1 - own.learning_rate * own.weight_decay)
                parameter.addcdiv_(mean, scale, value=-own.learning_rate / (1 - own.beta1**self._steps))


def derivatives(
    loss: Tensor, parameters: Sequence[Tensor], draws: np.random.Generator
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of `loss` and Hutchinson's estimates of the Hessian's diagonal, shaped like `parameters`.

    The estimate's mean over the random signs is the diagonal; of a diagonal Hessian every draw gives it exactly.
    """
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    signs = [torch.from_numpy(draws.choice((-1.0, 1.0), tuple(p.shape))).to(p) for p in parameters]
    along = sum(((g * z).sum() for g, z in zip(gradients, signs, strict=True)), torch.zeros(()).to(loss))
    products = torch.autograd.grad(along, parameters, materialize_grads=True)
    return [g.detach() for g in gradients], [z * product for z, product in zip(signs, products, strict=True)]
