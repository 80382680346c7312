"""One network with weights of its own for every trial, run on the images of all trials at once."""

from __future__ import annotations

from torch import Tensor, func
from torch.nn import functional as F

from fedunlearn.attacks.gradient_inversion.batch_norm import Gauge, Statistics
from fedunlearn.attacks.gradient_inversion.simulation import Tensors
from fedunlearn.models import Classifier


def stacked_losses(
    model: Classifier, weights: Tensors, images: Tensor, labels: Tensor, gauge: Gauge | None = None
) -> tuple[Tensor, Statistics]:
    """Return the mean cross-entropy of each trial, (R,), and what the gauge saw, (R, channels) of every layer.

    Args:
        model: gives the architecture, and whatever `weights` lacks.
        weights: (R, ...) of each parameter.
        images: (R, b, C, H, W) in [0, 1].
        labels: int64 (R, b).
        gauge: of the model.
    """

    def one(own: Tensors, batch: Tensor, classes: Tensor) -> tuple[Tensor, Statistics]:
        loss = F.cross_entropy(func.functional_call(model, own, (batch,)), classes)
        return loss, gauge.take() if gauge else []

    if len(images) == 1:  # vmap costs as much again as a small net
        loss, seen = one({name: values[0] for name, values in weights.items()}, images[0], labels[0])
        return loss[None], [(mean[None], variance[None]) for mean, variance in seen]
    return func.vmap(one)(weights, images, labels)
