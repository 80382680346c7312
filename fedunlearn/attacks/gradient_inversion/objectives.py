"""How far the gradients of candidates are from the observed ones."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Gradients = Sequence[Tensor]  # (R, ...) of each parameter
Objective = Callable[[Gradients, Gradients], Tensor]  # (found, observed) -> (R,)


def euclidean(found: Gradients, observed: Gradients) -> Tensor:
    """Return the squared distance summed over tensors, relative to the observed squared norm (0 = equal).

    Source: Zhu, Liu, Han, Deep Leakage from Gradients, NeurIPS 2019. Deviation: dividing by the norm, so that one
    tolerance serves every model.
    """
    return _squares([f - o for f, o in zip(found, observed, strict=True)]) / _squares(observed)


def cosine(found: Gradients, observed: Gradients) -> Tensor:
    """Return 1 - cosine similarity of all tensors together, from 0 (same direction) to 2.

    Source: Geiping, Bauermeister, Droege, Moeller, Inverting Gradients, NeurIPS 2020.
    """
    product = torch.stack([(f * o).flatten(1).sum(dim=1) for f, o in zip(found, observed, strict=True)]).sum(dim=0)
    return 1 - product / (_squares(found) * _squares(observed)).sqrt()


def layer_norms(found: Gradients, observed: Gradients) -> Tensor:
    """Return the distances of the tensors, not squared, summed and relative to the sum of the observed norms.

    Source: Yin et al., See through Gradients (GradInversion), CVPR 2021. Deviation: dividing by the norms.
    """
    return _norms([f - o for f, o in zip(found, observed, strict=True)]) / _norms(observed)


def _squares(parts: Gradients) -> Tensor:
    return torch.stack([part.flatten(1).square().sum(dim=1) for part in parts]).sum(dim=0)


def _norms(parts: Gradients) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(part.flatten(1), dim=1) for part in parts]).sum(dim=0)


OBJECTIVES: dict[str, Objective] = {"euclidean": euclidean, "cosine": cosine, "layer-norms": layer_norms}
