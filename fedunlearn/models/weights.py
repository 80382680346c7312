"""Models as numpy arrays: what travels, is stored and is averaged."""

import numpy as np
import torch
from torch import nn

from fedunlearn.federation import Weights


def to_weights(model: nn.Module) -> Weights:
    """Return copies of the parameters and buffers, in the model's own order."""
    return {name: np.array(tensor.numpy(force=True)) for name, tensor in model.state_dict().items()}


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy `weights` into the model, in place.

    Raises:
        ValueError: when names, a shape or a dtype differ from the model's; nothing is loaded then.
    """
    tensors = model.state_dict()
    if tensors.keys() != weights.keys():
        raise ValueError(f"the model has {sorted(tensors)}, the weights {sorted(weights)}")
    loaded = {name: torch.tensor(array) for name, array in weights.items()}
    for name, tensor in tensors.items():
        new = loaded[name]
        if new.shape != tensor.shape or new.dtype != tensor.dtype:
            raise ValueError(
                f"{name} is {new.dtype}{list(new.shape)}, the model has {tensor.dtype}{list(tensor.shape)}"
            )
    for name, tensor in tensors.items():
        tensor.copy_(loaded[name])


def parameter_names(model: nn.Module) -> frozenset[str]:
    """Return the names in the weights that are trained; the others are buffers."""
    return frozenset(name for name, _ in model.named_parameters())
