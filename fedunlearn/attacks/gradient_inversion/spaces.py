"""Where a candidate lives: which coordinates of an image the search moves."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from fedunlearn.models import Classifier

SLOPE, KNEE = 1.8, 3.0  # amplitude ~ (f^2 + KNEE^2)^(-SLOPE / 2) at f half-waves per image
CONTRAST = 23.5 / 32  # the factor before it, per pixel of the image's side
BRIGHTNESS = 2.0  # the mean of an image varies so much more than the formula says
COLOURS = (1.0, 0.26, 0.115)  # amplitudes of brightness, red against blue, and green against both


class Space(ABC):
    """An invertible linear map from candidates (..., C, H, W) to pixels.

    Args:
        model: its normalisation, device and precision.
        image_shape: (channels, height, width).

    Attributes:
        grey_noise: the deviation of the noise on a grey start, in the candidate's own unit.
    """

    grey_noise: Tensor | float

    @abstractmethod
    def __init__(self, model: Classifier, image_shape: tuple[int, int, int]) -> None:
        self._mean, self._std = model.mean, model.std

    @abstractmethod
    def pixels(self, candidate: Tensor) -> Tensor:
        """Return the images of a candidate, differentiable."""

    @abstractmethod
    def candidate(self, pixels: Tensor) -> Tensor:
        """Return the candidate of images."""

    def inputs(self, candidate: Tensor) -> Tensor:
        """Return the images of a candidate, normalised as the model's body takes them."""
        return (self.pixels(candidate) - self._mean) / self._std

    def picture(self, candidate: Tensor) -> Tensor:
        """Return the picture whose total variation is measured: the candidate itself where it is one."""
        return candidate

    def boxed(self, candidate: Tensor) -> Tensor:
        """Return the candidate with every pixel moved into [0, 1]."""
        return self.candidate(self.pixels(candidate).clamp(0, 1))


class Normalised(Space):
    """The model's normalised inputs, as in the papers of Zhu et al. and Geiping et al."""

    def __init__(self, model: Classifier, image_shape: tuple[int, int, int]) -> None:
        super().__init__(model, image_shape)
        black = torch.zeros_like(self._mean)
        self._low, self._high = self.candidate(black), self.candidate(black + 1)
        self.grey_noise = 0.1 / self._std

    def pixels(self, candidate: Tensor) -> Tensor:
        """Return mean + std * candidate."""
        return self._mean + self._std * candidate

    def candidate(self, pixels: Tensor) -> Tensor:
        """Return (pixels - mean) / std."""
        return (pixels - self._mean) / self._std

    def inputs(self, candidate: Tensor) -> Tensor:
        """Return the candidate."""
        return candidate

    def boxed(self, candidate: Tensor) -> Tensor:
        """Return the candidate, clamped."""
        return torch.clamp(candidate, self._low, self._high)


class Pixels(Space):
    """The pixels themselves."""

    def __init__(self, model: Classifier, image_shape: tuple[int, int, int]) -> None:
        super().__init__(model, image_shape)
        self.grey_noise = 0.1

    def pixels(self, candidate: Tensor) -> Tensor:
        """Return the candidate."""
        return candidate

    def candidate(self, pixels: Tensor) -> Tensor:
        """Return the pixels."""
        return pixels

    def boxed(self, candidate: Tensor) -> Tensor:
        """Return the candidate, clamped."""
        return candidate.clamp(0, 1)


class Whitened(Space):
    """Waves of natural images: cosine coefficients of opponent colours, each in units of its usual amplitude.

    Where the gradient has fewer equations than the images have pixels, a search from a grey start ends close to the
    solution of least norm, which in these coordinates is the one most like a natural image: amplitudes fall with the
    frequency as a power, and most of them is brightness (Field 1987; Ruderman, Cronin, Chiao 1998). The constants were
    fitted to 2,000 training images of CIFAR-10: only such statistics of the world's pictures are presumed, none of the
    client's. Images of one channel have no colours.
    """

    exponent: ClassVar[float] = 1.0  # of the amplitudes

    def __init__(self, model: Classifier, image_shape: tuple[int, int, int]) -> None:
        super().__init__(model, image_shape)
        like, (channels, height, width) = model.head.weight, image_shape
        self._rows, self._columns = (cosines(side).to(like) for side in (height, width))
        self._colours = opponent_colours(channels).to(like)
        scale = torch.tensor(COLOURS if channels == len(COLOURS) else [1.0] * channels, dtype=torch.float64)
        self._amplitudes = ((scale[:, None, None] * amplitudes(height, width)) ** self.exponent).to(like)
        self.grey_noise = 0.01

    def pixels(self, candidate: Tensor) -> Tensor:
        """Return 0.5 + the waves' sum."""
        waves = self._rows.T @ (candidate * self._amplitudes) @ self._columns
        return 0.5 + torch.einsum("oc,...ohw->...chw", self._colours, waves)

    def candidate(self, pixels: Tensor) -> Tensor:
        """Return the waves' coefficients over their amplitudes."""
        opponents = torch.einsum("oc,...chw->...ohw", self._colours, pixels - 0.5)
        return self._rows @ opponents @ self._columns.T / self._amplitudes

    def picture(self, candidate: Tensor) -> Tensor:
        """Return the images."""
        return self.pixels(candidate)


class HalfWhitened(Whitened):
    """Waves in units of the root of their usual amplitude: better conditioned for detail, once coarse parts fit."""

    exponent = 0.5


def cosines(side: int) -> Tensor:
    """Return the orthonormal matrix (side, side) of the discrete cosine transform II, float64."""
    index = torch.arange(side, dtype=torch.float64)
    matrix = torch.cos(math.pi * index[:, None] * (index + 0.5) / side) * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix


def amplitudes(height: int, width: int) -> Tensor:
    """Return the usual amplitudes (height, width) of an image's waves, float64."""
    side = math.sqrt(height * width)
    down, across = (torch.arange(pixels, dtype=torch.float64) * side / pixels for pixels in (height, width))
    usual = CONTRAST * side * (down[:, None] ** 2 + across**2 + KNEE**2) ** (-SLOPE / 2)
    usual[0, 0] *= BRIGHTNESS
    return usual


def opponent_colours(channels: int) -> Tensor:
    """Return an orthonormal matrix (channels, channels): brightness and two opponent colours, or the identity."""
    if channels != len(COLOURS):
        return torch.eye(channels, dtype=torch.float64)
    rows = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
    return rows / rows.norm(dim=1, keepdim=True)


SPACES: dict[str, type[Space]] = {
    "half-whitened": HalfWhitened,
    "normalised": Normalised,
    "pixels": Pixels,
    "whitened": Whitened,
}
