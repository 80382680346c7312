"""What a client does with images, differentiable in them: one gradient, or all the local steps of its training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Tensors = dict[str, Tensor]
Differentiate = Callable[[Tensors, Tensor, Tensor], Tensors]  # (weights, images, labels) -> gradient of the mean loss


@dataclass(frozen=True)
class LocalWork:
    """The steps from the broadcast to what a client sent; the defaults are the one step of FedSGD.

    Attributes:
        images: how many the client has.
        batch_size: samples per step; the last batch of an epoch may be shorter.
        epochs: passes over the images.
        copies: sets of images in a candidate: one for all epochs, or one per epoch.
        rate: the learning rate.
        momentum: of SGD, without dampening or Nesterov.
        decay: weight decay.
        proximal: the strength of FedProx's pull to the broadcast.
        scale: what the difference of the weights is divided by: the rate times the sum of the steps' shares.
    """

    images: int
    batch_size: int
    epochs: int = 1
    copies: int = 1
    rate: float = 1.0
    momentum: float = 0.0
    decay: float = 0.0
    proximal: float = 0.0
    scale: float = 1.0

    @property
    def steps(self) -> int:
        """How many gradients are taken."""
        return self.epochs * math.ceil(self.images / self.batch_size)


def simulate(
    work: LocalWork, differentiate: Differentiate, weights: Tensors, images: Tensor, labels: Tensor
) -> Tensors:
    """Return (broadcast - weights after the local steps) / scale, with the arithmetic of `fedunlearn.learning`.

    The steps are unrolled as by Geiping et al. (NeurIPS 2020) and Dimitrov et al. (TMLR 2022). What moved is summed
    apart from the weights, so that a small step loses no digits.

    Args:
        work: what each of R clients does.
        differentiate: the gradient of the mean loss at given weights, for all clients.
        weights: the broadcast, (R, ...) each.
        images: (R, copies, n, C, H, W) in [0, 1]; each epoch visits its copy in the order that it is in.
        labels: (R, copies, n).
    """
    velocity: Tensors = {}
    moved: Tensors = {}
    for epoch in range(work.epochs):
        for start in range(0, work.images, work.batch_size):
            part = (slice(None), min(epoch, work.copies - 1), slice(start, start + work.batch_size))
            current = {name: w + moved[name] for name, w in weights.items()} if moved else weights
            step = differentiate(current, images[part], labels[part])
            if work.proximal and moved:
                step = {name: g + work.proximal * moved[name] for name, g in step.items()}
            if work.decay:
                step = {name: g + work.decay * current[name] for name, g in step.items()}
            if work.momentum and velocity:
                step = {name: work.momentum * velocity[name] + g for name, g in step.items()}
            velocity = step
            moved = {name: moved[name] - work.rate * g if moved else -work.rate * g for name, g in step.items()}
    return {name: change / -work.scale for name, change in moved.items()}
