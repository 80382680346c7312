"""An image of every class that a model is sure of, made by gradient descent on the pixels, all classes at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.attacks.forgotten_class.decisions import DecidedSettings
from fedunlearn.attacks.gradient_inversion.denormals import flushed_denormals
from fedunlearn.attacks.gradient_inversion.regularisers import total_variation
from fedunlearn.models import Classifier
from fedunlearn.observer.cache import ContentCache, digest
from fedunlearn.randomness import rng

Arrays = dict[str, np.ndarray]


class SearchSettings(DecidedSettings):
    """Settings of a gradient search for prototypes."""

    steps: int = Field(default=100, ge=1, description="Steps of Adam; how many is part of the attack.")
    restarts: int = Field(default=3, ge=1, description="Prototypes per class, each from another start.")
    learning_rate: float = Field(default=0.1, gt=0, description="Of Adam, in units of pixels, which are in [0, 1].")
    tv: float = Field(default=0.01, ge=0, description="Weight of the total variation.")
    l2: float = Field(default=0.01, ge=0, description="Weight of the mean square of the pixels.")

    @property
    def search(self) -> dict[str, Any]:
        """What the search follows from, beside model and starts."""
        return self.model_dump(include={"steps", "learning_rate", "tv", "l2"})


def noise(model: Classifier, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return uniform noise (count, C, H, W) in [0, 1], float32, that follows from a model's content."""
    return rng(int(digest(contents(model))[:8], 16), "attack").random((count, *shape), dtype=np.float32)


def prototypes(model: Classifier, starts: np.ndarray, settings: SearchSettings, cache: ContentCache) -> Arrays:
    """Return prototypes of all classes, kept by the content of model, starts and settings.

    Args:
        model: in evaluation mode.
        starts: (restarts, C, H, W) in [0, 1], the same for every class.
        settings: of the search.
        cache: where they are kept.

    Returns:
        `images` (restarts, K, C, H, W) and the `own`, `margins` and `profiles` of `Curves`, float32.
    """
    content = {"model": contents(model), "starts": starts, "settings": settings.search}
    return cache.get("prototypes", content, lambda: descend(model, starts, settings))


def contents(model: Classifier) -> Mapping[str, Any]:
    """Return all that a model computes from: its layers in words, its parameters and buffers as arrays."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return {"layers": str(model), "tensors": {name: tensor.numpy(force=True) for name, tensor in tensors.items()}}


def descend(model: Classifier, starts: np.ndarray, settings: SearchSettings) -> Arrays:
    """Return what `prototypes` does: minimise CE(f(x), c) + tv * TV(x) + l2 * mean x^2 for every class c and start.

    One batch holds all classes and restarts: they do not meet, as the objective is a sum and normalisation layers
    are in evaluation mode. Pixels are put back into [0, 1] after every step.
    """
    device, classes = model.head.weight.device, model.head.out_features
    images = torch.from_numpy(np.repeat(starts, classes, axis=0)).to(device)
    wanted = torch.arange(classes, device=device).repeat(len(starts))[:, None]
    optimiser = torch.optim.Adam([images], lr=settings.learning_rate)
    curve = []
    with flushed_denormals():
        for _ in range(settings.steps):
            images.requires_grad_()
            logs = torch.log_softmax(model(images), dim=1)
            smooth = settings.tv * total_variation(images) + settings.l2 * images.square().flatten(1).mean(dim=1)
            (images.grad,) = torch.autograd.grad(smooth.sum() - logs.gather(1, wanted).sum(), [images])
            curve.append(logs.detach())
            with torch.no_grad():
                optimiser.step()
                images.requires_grad_(False).clamp_(0, 1)
        with torch.no_grad():
            curve.append(torch.log_softmax(model(images), dim=1))
    shape = (len(starts), classes)
    own, margins = own_and_margins(torch.stack(curve), wanted.T)
    return {
        "images": images.reshape(*shape, *starts.shape[1:]).numpy(force=True),
        "own": own.reshape(-1, *shape).numpy(force=True),
        "margins": margins.reshape(-1, *shape).numpy(force=True),
        "profiles": curve[-1].exp().reshape(*shape, classes).numpy(force=True),
    }


def own_and_margins(logs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln p of the wanted classes, and by how much it is above the best of the others.

    Args:
        logs: (..., n, K), ln p.
        wanted: (1, n), the wanted class of every row.

    Returns:
        Both (..., n).
    """
    places = wanted.expand(logs.shape[:-1])[..., None]
    own = logs.gather(-1, places)[..., 0]
    return own, own - logs.scatter(-1, places, -torch.inf).amax(dim=-1)


def best_of(images: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return of every class the prototype (K, C, H, W) that the model is surest of.

    Args:
        images: (restarts, K, C, H, W).
        own: (restarts, K), ln p_c.
    """
    return images[own.argmax(axis=0), np.arange(images.shape[1])]
