"""Batch normalisation in an attacked model: which statistics it uses, and what they say of the images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fedunlearn.attacks.gradient_inversion.regularisers import root_mean_square
from fedunlearn.federation import Weights

Statistics = list[tuple[Tensor, Tensor]]  # of each layer: mean and unbiased variance of its inputs, (..., channels)


def normalised_layers(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Return a model's layers of batch normalisation by name, in their order."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}


def running_statistics(model: nn.Module, weights: Weights) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return mean and variance of every layer as `weights` have them."""
    return [(weights[f"{name}.running_mean"], weights[f"{name}.running_var"]) for name in normalised_layers(model)]


def batch_statistics(
    model: nn.Module, broadcast: Weights, update: Weights
) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Return the statistics of the one batch that moved the broadcast's running statistics to the update's.

    After one batch a running statistic is (1 - momentum) * old + momentum * new, which is solved for the new one.
    None when the update has gone through more than one batch, or through none, or came without its statistics.
    """
    found = []
    for name, layer in normalised_layers(model).items():
        counter = f"{name}.num_batches_tracked"
        if not {counter, f"{name}.running_mean", f"{name}.running_var"} <= update.keys():
            return None
        if layer.momentum is None or int(update[counter]) - int(broadcast[counter]) != 1:
            return None
        pairs = (
            (broadcast[key].astype(np.float64), update[key]) for key in (f"{name}.running_mean", f"{name}.running_var")
        )
        mean, variance = ((new - (1 - layer.momentum) * old) / layer.momentum for old, new in pairs)
        found.append((mean, variance))
    return found


def use_batch_statistics(model: nn.Module) -> None:
    """Make every layer normalise by the statistics of the images it is shown, as a client's model in training does."""
    for layer in normalised_layers(model).values():
        layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None


class Gauge:
    """Reads the statistics of the inputs of the layers at every forward pass of `model`."""

    def __init__(self, model: nn.Module) -> None:
        self._seen: Statistics = []
        for layer in normalised_layers(model).values():
            layer.register_forward_pre_hook(self._read)

    def _read(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        maps = inputs[0]
        self._seen.append((maps.mean(dim=(0, 2, 3)), maps.var(dim=(0, 2, 3))))

    def take(self) -> Statistics:
        """Return what was read since the last call."""
        seen, self._seen = self._seen, []
        return seen


def statistics_distance(seen: Statistics, wanted: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the mean over layers of the root mean square differences of the means and of the variances, (R,).

    Source: Yin et al., CVPR 2021. Deviation: means over channels and layers, where they sum norms.
    """
    layers = [
        root_mean_square(mean - m) + root_mean_square(variance - v)
        for (mean, variance), (m, v) in zip(seen, wanted, strict=True)
    ]
    return torch.stack(layers).mean(dim=0)
