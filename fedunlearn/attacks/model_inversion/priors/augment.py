"""Public images a few pixels off: the one change that leaves faces, digits and letters what they are."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 2  # pixels, in each direction; an eighth of the side on images that are too small for that


def most(images: Tensor) -> int:
    """Return by how many pixels images (n, C, H, W) are moved at most."""
    return min(SHIFT, min(images.shape[-2:]) // 8)


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Return images (n, C, H, W) moved by so many pixels; what moves in continues the edge."""
    margin = max(abs(down), abs(right))
    if not margin:
        return images
    height, width = images.shape[-2:]
    padded = F.pad(images, (margin, margin, margin, margin), mode="replicate")
    top, left = margin - down, margin - right
    return padded[..., top : top + height, left : left + width]


def random_batch(images: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Return `size` images drawn with replacement, all moved by one random shift."""
    picked = images[torch.from_numpy(rng.integers(len(images), size=size))]
    down, right = rng.integers(-most(images), most(images) + 1, size=2)
    return shifted(picked, int(down), int(right))
