"""The client halves of FedAvg and FedSGD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedunlearn.federation import Update
from fedunlearn.learning.client import CLIENT_TASKS, LocalClient
from fedunlearn.models import to_weights


@dataclass(frozen=True)
class LocalTraining:
    """The settings of the tasks "train" and "gradient".

    Attributes:
        batch_size: samples per gradient.
        learning_rate: of plain SGD; not used by "gradient".
        local_epochs: passes over the client's data.
        momentum: as in `torch.optim.SGD`, no dampening, not Nesterov.
        weight_decay: added to the gradient, times the weights; with "adamw" to the step, as it is there.
        proximal_mu: FedProx: added to the gradient, times the distance from the broadcast.
        optimiser: "sgd", or "adamw" as in `torch.optim.AdamW`, without momentum and proximal term; its memory ends
            with the round.
    """

    batch_size: int
    learning_rate: float = 0.0
    local_epochs: int = 1
    momentum: float = 0.0
    weight_decay: float = 0.0
    proximal_mu: float = 0.0
    optimiser: str = "sgd"

    @classmethod
    def read(cls, settings: Mapping[str, Any], *required: str) -> LocalTraining:
        """Return the settings in a task's mapping; keys that belong to others are passed over.

        Raises:
            ValueError: naming a required key that is absent, or a number of batches below one.
        """
        for key in ("batch-size", *required):
            if key not in settings:
                raise ValueError(f'the task\'s settings lack "{key}"')
        known = {name: settings[key] for name in cls.__annotations__ if (key := name.replace("_", "-")) in settings}
        local = cls(**known)
        for name in ("batch_size", "local_epochs"):
            if (value := getattr(local, name)) < 1:
                raise ValueError(f"{name.replace('_', '-')} = {value}: must be at least 1")
        return local


def sgd_step(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    velocities: Sequence[Tensor],
    broadcast: Sequence[Tensor],
    local: LocalTraining,
) -> None:
    """Move `parameters` (and `velocities`, which start at zero) in place, with the arithmetic of `torch.optim.SGD`.

    All four are aligned; a leading axis of clients may stand before the shapes in `broadcast`.
    """
    with torch.no_grad():
        for number, (parameter, step) in enumerate(zip(parameters, gradients, strict=True)):
            if local.proximal_mu:
                step = step.add(parameter - broadcast[number], alpha=local.proximal_mu)
            if local.weight_decay:
                step = step.add(parameter, alpha=local.weight_decay)
            if local.momentum:
                step = velocities[number].mul_(local.momentum).add_(step)
            parameter.add_(step, alpha=-local.learning_rate)


def adam_step(adam: torch.optim.AdamW, gradients: Sequence[Tensor]) -> None:
    """Move the parameters of `adam`, whose order the gradients have."""
    for parameter, gradient in zip(adam.param_groups[0]["params"], gradients, strict=True):
        parameter.grad = gradient
    adam.step()
    adam.zero_grad()


@CLIENT_TASKS.register("train")
def train(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """FedAvg: local epochs from the broadcast; sends the weights."""
    local = LocalTraining.read(settings, "learning-rate")
    model, parameters = client.model, list(client.model.parameters())
    adam = None
    if local.optimiser == "adamw":
        adam = torch.optim.AdamW(parameters, local.learning_rate, weight_decay=local.weight_decay)
    velocities = [torch.zeros_like(p) for p in parameters] if local.momentum else []
    broadcast = [p.detach().clone() for p in parameters] if local.proximal_mu else []
    batches = client.epoch_batches(local.batch_size, local.local_epochs)
    losses = []
    for positions in batches:
        loss = model.loss(*client.take(positions))
        gradients = torch.autograd.grad(loss, parameters)
        if adam is not None:
            adam_step(adam, gradients)
        else:
            sgd_step(parameters, gradients, velocities, broadcast, local)
        losses.append(loss.detach())
    sizes = [len(positions) for positions in batches]
    mean_loss = float(np.average(torch.stack(losses).numpy(force=True), weights=sizes))
    return Update(client.client_id, "weights", to_weights(model), len(client.sample_ids), {"loss": mean_loss})


@CLIENT_TASKS.register("gradient")
def gradient(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """FedSGD: the gradient of the mean loss of one batch, and the buffers after it."""
    local = LocalTraining.read(settings)
    images, labels = client.take(client.draw_batch(local.batch_size))
    parameters = dict(client.model.named_parameters())
    loss = client.model.loss(images, labels)
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    if local.weight_decay:
        gradients = {name: g.add(parameters[name].detach(), alpha=local.weight_decay) for name, g in gradients.items()}
    buffers = dict(client.model.named_buffers())
    payload = {
        name: gradients[name].numpy(force=True) if name in gradients else np.array(buffers[name].numpy(force=True))
        for name in client.weights
    }
    return Update(client.client_id, "gradient", payload, len(labels), {"loss": float(loss.detach())})
