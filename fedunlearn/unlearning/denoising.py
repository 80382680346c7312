"""What a diffusion model's layers see while it denoises: activations without any data."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from fedunlearn.models.diffusion import Diffusion


def step_activations(
    model: Diffusion, labels: np.ndarray, rng: np.random.Generator, steps: int, first: int
) -> dict[str, np.ndarray]:
    """Return A_j (first, in) of each prunable layer's input in the first denoising steps.

    A_j = sqrt(mean over images and positions of (a_j / |a|_2)^2), |a|_2 over a position's features.

    Args:
        model: with its weights, in evaluation mode.
        labels: int64 (n,), what is denoised.
        rng: where the noise comes from.
        steps: of a whole denoising.
        first: how many of them are watched; the others are not made.
    """
    seen: dict[str, list[np.ndarray]] = defaultdict(list)

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        # by name: the order in which layers are called is not that in which they are listed
        return layer.register_forward_pre_hook(lambda _, inputs: seen[name].append(root_mean_share(inputs[0])))

    handles = [watch(name, layer) for name, layer in model.prunable().items()]
    try:
        for _ in islice(model.denoise(torch.from_numpy(labels), rng, steps), first):
            pass
    finally:
        for handle in handles:
            handle.remove()
    return {name: np.stack(arrays) for name, arrays in seen.items()}


def root_mean_share(inputs: Tensor) -> np.ndarray:
    """Return A (in,), float64, of inputs (n, positions, in); a position without any input counts as zeros."""
    squares = inputs.double().square().flatten(end_dim=-2)
    total = squares.sum(1, keepdim=True)
    return np.asarray((squares / total.where(total > 0, 1.0)).mean(0).sqrt().numpy(force=True))
