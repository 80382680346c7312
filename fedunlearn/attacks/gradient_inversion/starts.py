"""Where a search begins."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fedunlearn.attacks.gradient_inversion.spaces import Space

TILE = 4  # pixels; the side of the tile of a patterned start


def grey(space: Space, noise: Tensor) -> Tensor:
    """Return grey images with a little noise: in pixels 0.5 + 0.1 N(0, 1)."""
    return space.candidate(torch.full_like(noise, 0.5)) + space.grey_noise * noise


def normal(space: Space, noise: Tensor) -> Tensor:
    """Return N(0, 1), in the space of the candidate (Zhu et al. 2019, Geiping et al. 2020)."""
    return noise


def patterned(space: Space, noise: Tensor) -> Tensor:
    """Return for every image a 4x4 tile of N(0, 1), repeated and cut to size (JonasGeiping/breaching, patterned-4)."""
    height, width = noise.shape[-2:]
    rows, columns = (torch.arange(side, device=noise.device) % TILE for side in (height, width))
    return noise[..., rows, :][..., columns]


Start = Callable[[Space, Tensor], Tensor]  # (space, N(0, 1) of the candidate's shape) -> candidate
STARTS: dict[str, Start] = {"grey": grey, "normal": normal, "patterned": patterned}
