"""Descent in a prior's latent space: images that are real to the critic and of the class to the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.attacks.gradient_inversion.denormals import flushed_denormals
from fedunlearn.attacks.model_inversion.objective import Objective
from fedunlearn.attacks.model_inversion.priors.prior import Prior
from fedunlearn.settings import Settings


class DescentSettings(Settings):
    """Settings of the descent."""

    steps: int = Field(default=100, ge=1, description="Steps of the descent.")
    learning_rate: float = Field(default=0.02, gt=0, description="Of a step in latent space.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Nesterov's.")
    bound: float = Field(default=1.0, gt=0, description="Latent numbers are kept within so much of 0.")


def descend(
    prior: Prior,
    objective: Objective,
    labels: Tensor,
    starts: Tensor,
    settings: DescentSettings,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, Any]]:
    """Minimise -realism + the objective over latent vectors, all pictures at once, from `starts` (n, latent).

    Returns:
        The latent vectors (n, latent), and the mean realism and objective at the end.
    """
    latents, anchors = starts.clone(), objective.anchors(len(starts), rng)
    optimiser = torch.optim.SGD(
        [latents], lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0
    )
    with flushed_denormals():
        for _ in range(settings.steps):
            latents.requires_grad_()
            images = prior.generator(latents)
            realism, missed = prior.realism(images, latents), objective(images, labels, anchors)
            (latents.grad,) = torch.autograd.grad((missed - realism).sum(), [latents])
            with torch.no_grad():
                optimiser.step()
                latents.requires_grad_(False).clamp_(-settings.bound, settings.bound)
    return latents, {"realism": float(realism.detach().mean()), "objective": float(missed.detach().mean())}
