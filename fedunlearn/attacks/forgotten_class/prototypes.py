"""An image of every class that a model is sure of, made by gradient descent on the pixels, all classes at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.attacks.forgotten_class.decisions import DecidedSettings
from fedunlearn.attacks.gradient_inversion.denormals import flushed_denormals
from fedunlearn.attacks.gradient_inversion.regularisers import total_variation
from fedunlearn.models import Classifier
from fedunlearn.observer.cache import ContentCache, digest
from fedunlearn.randomness import rng

Arrays = dict[str, np.ndarray]


class SearchSettings(DecidedSettings):
    """Settings of a gradient search for prototypes."""

    steps: int = Field(default=50, ge=1, description="Steps of Adam; how many is part of the attack.")
    restarts: int = Field(default=10, ge=1, description="Prototypes per class, each from another start.")
    learning_rate: float = Field(default=0.1, gt=0, description="Of Adam, in units of pixels, which are in [0, 1].")
    tv: float = Field(default=0.3, ge=0, description="Weight of the total variation.")
    l2: float = Field(default=0.3, ge=0, description="Weight of the mean square of the pixels.")

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
        `images` (restarts, K, C, H, W), float16 to keep files small, and the `own`, `odds`, `others` and `profiles` of
        `Curves`, float32.
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
    wanted = torch.arange(classes, device=device).repeat(len(starts))
    optimiser = torch.optim.Adam([images], lr=settings.learning_rate)
    curve = []
    with flushed_denormals():
        for _ in range(settings.steps):
            images.requires_grad_()
            logits = model(images)
            smooth = settings.tv * total_variation(images) + settings.l2 * images.square().flatten(1).mean(dim=1)
            (images.grad,) = torch.autograd.grad(
                smooth.sum() + F.cross_entropy(logits, wanted, reduction="sum"), [images]
            )
            curve.append(logits.detach())
            with torch.no_grad():
                optimiser.step()
                images.requires_grad_(False).clamp_(0, 1)
        with torch.no_grad():
            curve.append(model(images))
    shape = (len(starts), classes)
    curves = curves_of(torch.stack(curve).reshape(-1, *shape, classes))
    return {"images": images.half().reshape(*shape, *starts.shape[1:]).numpy(force=True), **curves}


def curves_of(logits: Tensor) -> Arrays:
    """Return the arrays of `Curves` from the logits (steps + 1, restarts, K, K) of every class's prototypes."""
    logs, odds = logits.log_softmax(dim=-1), torch.stack([log_odds_of(step) for step in logits])
    own_odds = odds.diagonal(dim1=-2, dim2=-1)
    return {
        "own": logs.diagonal(dim1=-2, dim2=-1).numpy(force=True),
        "odds": own_odds.numpy(force=True),
        "others": ((odds.sum(dim=-2) - own_odds) / (logits.shape[-1] - 1)).numpy(force=True),
        "profiles": logs[-1].exp().numpy(force=True),
    }


def log_odds_of(logits: Tensor) -> Tensor:
    """Return ln p - ln(1 - p) of every class from logits (..., K), without the loss of 1 - p."""
    apart = logits[..., None, :].expand(*logits.shape, logits.shape[-1])
    itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    return logits - apart.masked_fill(itself, -torch.inf).logsumexp(dim=-1)


def best_of(images: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return of every class the prototype (K, C, H, W), float32, that the model is surest of.

    Args:
        images: (restarts, K, C, H, W).
        own: (restarts, K), ln p_c.
    """
    return images[own.argmax(axis=0), np.arange(images.shape[1])].astype(np.float32)
