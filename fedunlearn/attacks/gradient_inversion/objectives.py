"""How far the gradient of a candidate is from the observed one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Gradient = Sequence[Tensor]
Objective = Callable[[Gradient, Gradient], Tensor]


def euclidean(found: Gradient, observed: Gradient) -> Tensor:
    """Return the squared distance summed over tensors, relative to the observed squared norm (0 = equal).

    Source: Zhu, Liu, Han, Deep Leakage from Gradients, NeurIPS 2019. Deviation: dividing by the norm, so that one
    tolerance serves every model.
    """
    distance = torch.stack([((f - o) ** 2).sum() for f, o in zip(found, observed, strict=True)]).sum()
    return distance / torch.stack([(o**2).sum() for o in observed]).sum()


def cosine(found: Gradient, observed: Gradient) -> Tensor:
    """Return 1 - cosine similarity of all tensors together, from 0 (same direction) to 2.

    Source: Geiping, Bauermeister, Droege, Moeller, Inverting Gradients, NeurIPS 2020.
    """
    product = torch.stack([(f * o).sum() for f, o in zip(found, observed, strict=True)]).sum()
    norms = [torch.stack([(t**2).sum() for t in tensors]).sum().sqrt() for tensors in (found, observed)]
    return 1 - product / (norms[0] * norms[1])


OBJECTIVES: dict[str, Objective] = {"euclidean": euclidean, "cosine": cosine}


def total_variation(images: Tensor) -> Tensor:
    """Return mean |dx| + mean |dy| of images (n, C, H, W), as in JonasGeiping/invertinggradients."""
    across = (images[..., :, 1:] - images[..., :, :-1]).abs().mean()
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().mean()
    return across + down
