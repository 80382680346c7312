"""What every classifier is: normalisation, a body that computes features, and a linear head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedunlearn.errors import ScenarioError
from fedunlearn.models.settings import ModelSettings
from fedunlearn.registry import Registry

Shape = tuple[int, int, int]  # channels, height, width
PixelStats = tuple[float | Sequence[float], float | Sequence[float]]  # mean and deviation: one number, or per channel

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
}


class Classifier(nn.Module, ABC):
    """A differentiable map from images in [0, 1] to class logits, ending in the linear layer `head`.

    Every body but the logistic one ends in the activation (or an average of it), so with ReLU the head's inputs
    are never negative.

    Args:
        image_shape: (channels, height, width).
        num_classes: the head's outputs.
        activation: a name in `ACTIVATIONS`.
        width: hidden units or channels, None for `default_width`.
        norm: "batch" or "group", for architectures with normalisation layers.
    """

    linear_only: ClassVar[bool] = False  # nothing but linear layers: many clients can be trained in one vmapped call
    default_activation: ClassVar[str] = "relu"
    default_width: ClassVar[int | None]
    mean: Tensor
    std: Tensor
    draws: np.random.Generator | None = None  # what `loss` draws with, in models where it draws; set for every client

    def __init__(self, image_shape: Shape, num_classes: int, activation: str, width: int | None, norm: str) -> None:
        super().__init__()
        self.body = self.make_body(image_shape, ACTIVATIONS[activation], width or self.default_width or 0, norm)
        with torch.no_grad():
            num_features = self.body.eval()(torch.zeros(1, *image_shape)).shape[1]
        self.body.train()
        self.head = nn.Linear(num_features, num_classes)

    @abstractmethod
    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return the module from normalised images (n, C, H, W) to the head's inputs (n, d)."""

    def set_pixel_stats(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        """Normalise by `mean` and `std`: kept in buffers that are no part of the weights."""
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).float().reshape(-1, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Return the head's inputs (n, d) for images (n, C, H, W) in [0, 1]."""
        return self.body((images - self.mean) / self.std)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, num_classes) for images (n, C, H, W) in [0, 1]."""
        return self.head(self.features(images))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy (natural logarithm) of images (n, C, H, W) with int64 labels (n,)."""
        return F.cross_entropy(self(images), labels)

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator) -> None:
        """Draw the weights from PyTorch's default distributions, in the order of the modules.

        Linear and convolution: weight and bias ~ U(-b, b) with b = 1 / sqrt(fan-in), which is what
        `nn.Linear.reset_parameters` and `nn.Conv2d.reset_parameters` draw. Normalisation layers: 1 and 0.
        """
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                bound = module.weight[0].numel() ** -0.5
                for parameter in module.parameters(recurse=False):
                    draw_uniform(parameter, bound, rng)


def draw_uniform(parameter: Tensor, bound: float, rng: np.random.Generator) -> None:
    """Fill `parameter` with draws from U(-bound, bound)."""
    parameter.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(parameter.shape))))


MODELS: Registry[type[Classifier]] = Registry("model")


def build(
    settings: ModelSettings,
    image_shape: Sequence[int],
    num_classes: int,
    rng: np.random.Generator | None,
    pixel_stats: PixelStats = (0.0, 1.0),
) -> Classifier:
    """Return the classifier that `settings` names; no global random state is used or changed.

    Args:
        settings: name, activation (None: the architecture's own), width and norm.
        image_shape: (channels, height, width), each side at least 8.
        num_classes: at least 2.
        rng: where the weights come from; None leaves parameters at zero, for weights that are loaded next.
        pixel_stats: mean and standard deviation of the pixels in [0, 1], one number or one per channel.

    Raises:
        ScenarioError: for an unknown name, or a width where the architecture has none.
    """
    architecture = MODELS[settings.name]
    if settings.width is not None and architecture.default_width is None:
        raise ScenarioError(f'model.width = {settings.width}: "{settings.name}" has no hidden layer; leave it out')
    channels, height, width = image_shape
    activation = settings.activation or architecture.default_activation
    with torch.random.fork_rng(devices=[]):  # layers fill themselves from the global generator when constructed
        model = architecture((channels, height, width), num_classes, activation, settings.width, settings.norm)
    model.set_pixel_stats(*pixel_stats)
    if rng is not None:
        model.initialise(rng)
    else:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
    return model
