"""How far a picture is from being taken for a class, by logits (n, K); one number each, lower is nearer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

LossName = Literal["ce", "logit", "poincare", "max-margin"]
MARGIN = 1e-4  # of the class's corner from the edge of the ball, which is infinitely far away
SHORT = 1e-6  # keeps the root in the distance differentiable where it is 0


def own_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logits (n,) of the classes that the pictures are to show."""
    return logits.gather(1, labels[:, None])[:, 0]


def best_other(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the highest logit (n,) of another class."""
    itself = F.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(itself, -torch.inf).amax(dim=1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return -ln p_y (n,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def negative_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return -l_y (n,), which other logits do not satiate. Source: Nguyen et al., CVPR 2023 (arXiv 2304.01669)."""
    return -own_logit(logits, labels)


def max_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return max over j != y of l_j - l_y (n,). Source: Yuan et al., AAAI 2023 (arXiv 2302.09814)."""
    return best_other(logits, labels) - own_logit(logits, labels)


def poincare(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the distance (n,) in the Poincare ball of l / |l|_1 from the class's corner, drawn in by 0.0001.

    Source: Struppek et al., ICML 2022 (arXiv 2201.12179).
    """
    u = F.normalize(logits, p=1, dim=1)
    v = (F.one_hot(labels, logits.shape[1]) - MARGIN).clamp(min=0)
    apart = (u - v).square().sum(dim=1)
    room = (1 - u.square().sum(dim=1)) * (1 - v.square().sum(dim=1))
    return torch.acosh(1 + 2 * apart / room.clamp(min=SHORT) + SHORT)


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "logit": negative_logit,
    "poincare": poincare,
    "max-margin": max_margin,
}
