"""From what a client sent to a mean gradient: the one place where the sign and the shape of an update matter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.federation import Update, Weights
from fedunlearn.observer.access import AccessRefused


@dataclass(frozen=True)
class LocalSteps:
    """What the local steps of a FedAvg client add up to.

    Attributes:
        weights: (T,) the share of each step's gradient in the update, summing to 1.
        scale: what the sum of the weighted gradients was multiplied by: theta_0 - theta_T = scale * mean gradient.
        decay: the weight decay.
        proximal: the strength of FedProx's pull to the broadcast.
    """

    weights: np.ndarray
    scale: float
    decay: float
    proximal: float


def local_steps(learning: Mapping[str, Any] | None, num_examples: int) -> LocalSteps:
    """Return the steps of a client that trains as `learning` says on `num_examples` samples.

    With momentum mu the gradient of step t enters rho_t = (1 - mu^(T-t)) / (1 - mu) times (t = 0..T-1): velocities
    start at zero, without dampening or Nesterov. A last batch that is shorter weighs as much as a whole one.

    Raises:
        AccessRefused: when the attacker does not know how the clients learn, or they do not learn by SGD.
    """
    if learning is None:
        raise AccessRefused('to turn weights into a gradient the observer needs the flag "learning-known"')
    if (optimiser := learning.get("optimiser", "sgd")) != "sgd":
        raise AccessRefused(f"the clients' {optimiser} rescales every weight's steps: they give no gradient")
    steps = int(learning["local-epochs"]) * math.ceil(num_examples / int(learning["batch-size"]))
    momentum = float(learning.get("momentum", 0.0))
    left = np.arange(steps, 0, -1)
    rho = (1 - momentum**left) / (1 - momentum) if momentum else np.ones(steps)
    scale = float(learning["learning-rate"]) * rho.sum()
    return LocalSteps(
        rho / rho.sum(), scale, float(learning.get("weight-decay", 0.0)), float(learning.get("proximal-mu", 0.0))
    )


def mean_gradient(update: Update, broadcast: Weights, learning: Mapping[str, Any] | None) -> Weights:
    """Return the mean gradient of the loss that an update carries, in float64, for floating-point tensors.

    A gradient update is one already (less weight decay, where that is known). From the weights theta_T of a client
    that took T steps of plain SGD it is (theta_0 - theta_T) / (T * rate); momentum, weight decay and the proximal
    term are accounted for, the last two at the mean of theta_0 and theta_T. Tensors that the client did not send are
    absent.

    Args:
        update: what the client sent.
        broadcast: theta_0.
        learning: how the clients learn; only needed for weights.

    Raises:
        AccessRefused: for weights, when `learning` is None; for a payload that `readable` refuses.
    """
    sent = readable(update, broadcast)
    if update.kind == "gradient":
        decay = float((learning or {}).get("weight-decay", 0.0))
        return {name: array - decay * broadcast[name] for name, array in sent.items()}
    steps = local_steps(learning, update.num_examples)
    gradient = {}
    for name, local in sent.items():
        start = broadcast[name].astype(np.float64)
        pull = steps.decay * (start + local) / 2 + steps.proximal * (local - start) / 2
        gradient[name] = (start - local) / steps.scale - pull
    return gradient


def direction(update: Update, broadcast: Weights) -> Weights:
    """Return a positive multiple of the mean gradient, by an unknown factor for weights: theta_0 - theta_T.

    Raises:
        AccessRefused: for a payload that `readable` refuses.
    """
    sent = readable(update, broadcast)
    if update.kind == "gradient":
        return sent
    return {name: broadcast[name].astype(np.float64) - local for name, local in sent.items()}


def readable(update: Update, broadcast: Weights) -> Weights:
    """Return an update's floating-point tensors, as they were sent, in float64.

    Another floating-point type than the model's is read like the model's own.

    Raises:
        AccessRefused: naming the client and the tensor, when a defence or a fault left something that is no update of
            this model: other kinds of update, unknown names, other shapes, integers in place of floating-point
            numbers, NaN or infinity; or when the number of samples behind it is unknown.
    """

    def refuse(what: str) -> AccessRefused:
        return AccessRefused(f"client {update.client_id}'s update cannot be read: {what}")

    if update.kind not in ("gradient", "weights"):
        raise refuse(f"it holds {update.kind}, neither a gradient nor weights")
    if update.num_examples < 1:
        raise refuse("the number of samples behind it is unknown")
    sent = {}
    for name, array in update.payload.items():
        if name not in broadcast:
            raise refuse(f"the model has no {name}")
        if array.shape != broadcast[name].shape:
            raise refuse(f"{name} is {list(array.shape)}, in the model {list(broadcast[name].shape)}")
        if broadcast[name].dtype.kind != "f":
            continue
        if array.dtype.kind != "f":
            raise refuse(f"{name} is {array.dtype}, in the model {broadcast[name].dtype}")
        if not np.isfinite(array).all():
            raise refuse(f"{name} has NaN or infinite values")
        sent[name] = array.astype(np.float64)
    return sent


def whole_model(update: Update, broadcast: Weights) -> Weights:
    """Return the weights that a client sent in the form that a model loads.

    Tensors that it did not send are the broadcast's; floating-point numbers are given the broadcast's type.
    """
    return {
        name: update.payload[name].astype(array.dtype) if name in update.payload else array
        for name, array in broadcast.items()
    }
