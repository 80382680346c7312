"""The small networks of the priors: from a latent vector to an image, and from an image to a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fedunlearn.models.base import Shape, draw_uniform

M = TypeVar("M", bound=nn.Module)
SMALLEST = 4  # pixels: the side from which maps grow, and to which they shrink
WIDEST = 4  # times `width`: the channels of the smallest map, at most
SLOPE = 0.2  # of the leaky rectifiers
FAINTEST = 0.02  # the least distance of a mean pixel from black and white


def sides(height: int, width: int) -> list[tuple[int, int]]:
    """Return the sizes of the maps from the smallest to the image, each half the next, rounded up.

    Example:
        >>> sides(28, 28), sides(8, 8)
        ([(4, 4), (7, 7), (14, 14), (28, 28)], [(4, 4), (8, 8)])
    """
    sizes = [(height, width)]
    while max(sizes[0]) > SMALLEST:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes


def channels(levels: int, width: int) -> list[int]:
    """Return the channels of the maps below the image, from the smallest map on."""
    return [width * min(2**level, WIDEST) for level in reversed(range(levels))]


class Generator(nn.Module):
    """Latent vectors (n, latent) to images (n, C, H, W) in [0, 1], of any size from 8 pixels a side.

    Transposed convolutions double the map until it covers the image, whose middle is kept. What they make is added to
    the mean public image, in logits, so that training starts from it.

    Args:
        latent: length of a latent vector.
        shape: (channels, height, width) of the images.
        width: channels of the largest map before the image.
    """

    middle: Tensor

    def __init__(self, latent: int, shape: Shape, width: int) -> None:
        super().__init__()
        self.latent, self.shape = latent, shape
        first, *larger = sides(*shape[1:])
        maps = channels(len(larger), width)
        layers: list[nn.Module] = [nn.Linear(latent, maps[0] * first[0] * first[1]), nn.Unflatten(1, (maps[0], *first))]
        for inputs, outputs in pairwise([*maps, shape[0]]):
            layers += [nn.LeakyReLU(SLOPE), nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)
        self.register_buffer("middle", torch.zeros(shape))

    def centre(self, images: Tensor) -> None:
        """Let the images' mean be what the generator starts from."""
        self.middle = images.mean(dim=0).clamp(FAINTEST, 1 - FAINTEST).logit()

    def forward(self, latents: Tensor) -> Tensor:
        """Return images."""
        maps, (_, height, width) = self.layers(latents), self.shape
        top, left = (maps.shape[2] - height) // 2, (maps.shape[3] - width) // 2
        return (maps[:, :, top : top + height, left : left + width] + self.middle).sigmoid()


class Reader(nn.Module):
    """Images (n, C, H, W) to `outputs` numbers each: a critic's scores, an encoder's moments.

    Args:
        shape: (channels, height, width) of the images.
        width: channels of the largest map.
        outputs: how many numbers.
    """

    def __init__(self, shape: Shape, width: int, outputs: int) -> None:
        super().__init__()
        sizes = sides(*shape[1:])
        maps = [shape[0], *reversed(channels(len(sizes) - 1, width))]
        layers: list[nn.Module] = []
        for inputs, outer in pairwise(maps):
            layers += [nn.Conv2d(inputs, outer, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(maps[-1] * sizes[0][0] * sizes[0][1], outputs)

    def features(self, images: Tensor) -> Tensor:
        """Return the head's inputs (n, d)."""
        return self.body(images - 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, outputs)."""
        return self.head(self.features(images))


def undrawn(make: Callable[..., M], *arguments: object) -> M:
    """Return a module, without a draw from the global generator, which layers fill themselves from when made."""
    with torch.random.fork_rng(devices=[]):
        return make(*arguments)


def draw(module: nn.Module, rng: np.random.Generator) -> None:
    """Draw the weights of linear layers and convolutions from PyTorch's default distributions."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                for parameter in layer.parameters(recurse=False):
                    draw_uniform(parameter, layer.weight[0].numel() ** -0.5, rng)


def state_of(module: nn.Module, name: str) -> dict[str, np.ndarray]:
    """Return all that a module computes from, as arrays named `<name>/...`."""
    return {f"{name}/{key}": value.numpy(force=True) for key, value in module.state_dict().items()}


def load_state(module: nn.Module, arrays: Mapping[str, np.ndarray], name: str) -> None:
    """Set what `state_of` returned."""
    prefix = f"{name}/"
    state = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
