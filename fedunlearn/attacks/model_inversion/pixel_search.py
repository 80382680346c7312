"""Descent on the pixels themselves, every picture of every class in one batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.attacks.gradient_inversion.denormals import flushed_denormals
from fedunlearn.attacks.gradient_inversion.regularisers import total_variation
from fedunlearn.attacks.model_inversion.priors.augment import most, shifted
from fedunlearn.attacks.model_inversion.settings import RestartSettings

Loss = Callable[[Tensor], Tensor]  # images (n, C, H, W), maybe moved, to the loss (n,) or its sum over them
GREY, NOISE = 0.5, 0.1  # a start is a flat grey, with noise of this deviation


class PixelSettings(RestartSettings):
    """Settings of a descent on pixels."""

    steps: int = Field(default=200, ge=1, description="Steps of Adam.")
    learning_rate: float = Field(default=0.05, gt=0, description="Of Adam, in units of pixels, which are in [0, 1].")
    tv: float = Field(default=0.01, ge=0, description="Weight of the total variation.")
    l2: float = Field(default=0.01, ge=0, description="Weight of the mean square of the pixels.")


def starts(count: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Tensor:
    """Return images (count, C, H, W), float32: faint noise on grey."""
    noise = NOISE * rng.standard_normal((count, *shape), dtype=np.float32)
    return torch.from_numpy((GREY + noise).clip(0, 1))


def descend(images: Tensor, loss: Loss, settings: PixelSettings, rng: np.random.Generator, *, jitter: bool) -> Tensor:
    """Minimise loss + tv * TV + l2 * mean x^2 from `images` (n, C, H, W), pixels being put back into [0, 1].

    Args:
        images: the starts.
        loss: what is asked of the pictures beside smoothness and smallness.
        settings: of the descent.
        rng: draws the jitter.
        jitter: whether each step looks at the pictures moved by up to two pixels.
    """
    images, far = images.clone(), most(images) if jitter else 0
    optimiser = torch.optim.Adam([images], lr=settings.learning_rate)
    with flushed_denormals():
        for _ in range(settings.steps):
            images.requires_grad_()
            down, right = (int(each) for each in rng.integers(-far, far + 1, size=2))
            smooth = settings.tv * total_variation(images) + settings.l2 * images.square().flatten(1).mean(dim=1)
            total = smooth.sum() + loss(shifted(images, down, right)).sum()
            (images.grad,) = torch.autograd.grad(total, [images])
            with torch.no_grad():
                optimiser.step()
                images.requires_grad_(False).clamp_(0, 1)
    return images
