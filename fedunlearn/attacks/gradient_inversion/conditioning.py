"""How many directions of the images a shared gradient shows at all: where recovery must end."""

from __future__ import annotations

import numpy as np
import torch

from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.attacks.gradient_inversion.trials import Trials
from fedunlearn.models import Classifier

MOST_PIXELS = 800  # of all images together: beyond, the Jacobian takes gigabytes
CHUNK = 64  # directions at once


def jacobian(model: Classifier, target: Target, images: np.ndarray) -> np.ndarray:
    """Return the derivatives (observed entries, pixels) of the shared gradient by the images, in float64.

    Column by column, as there are fewer pixels than entries: for a direction v of the images the product J v is the
    derivative of the scalar (J'w) v by w, at any w.

    Args:
        model: with the broadcast weights.
        target: names the matched parameters, the labels and the client's work; all epochs see the same images.
        images: (n, C, H, W) in [0, 1], in the order of the labels, where the derivatives are taken.
    """
    channels, height, width = images.shape[1:]
    trials = Trials(model, [target], (channels, height, width), InversionSettings(precision="float64"))
    pixels = torch.from_numpy(images).to(trials.like).requires_grad_()
    labels = torch.from_numpy(target.labels).to(pixels.device)[None]
    sent, _ = trials.gradients(pixels.expand(1, target.work.copies, *pixels.shape), labels)
    entries = torch.cat([part.flatten() for part in sent.values()])
    anywhere = torch.zeros_like(entries, requires_grad=True)
    (product,) = torch.autograd.grad(entries, pixels, anywhere, create_graph=True)
    directions = torch.eye(pixels.numel()).to(trials.like).view(-1, *pixels.shape)
    columns = [
        torch.autograd.grad(product, anywhere, part, retain_graph=True, is_grads_batched=True)[0]
        for part in directions.split(CHUNK)
    ]
    return torch.cat(columns).T.numpy(force=True)


def jacobian_rank(model: Classifier, target: Target, images: np.ndarray) -> int:
    """Return the numerical rank of `jacobian`: singular values above its size times the machine epsilon of float64.

    With fewer than there are pixels, some change of the images leaves the shared gradient as it is, to first order.
    """
    return int(np.linalg.matrix_rank(jacobian(model, target, images)))
