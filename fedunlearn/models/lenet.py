"""LeNet-5 for every image size, and the sigmoid LeNet of the gradient-inversion papers."""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from fedunlearn.models.base import MODELS, Classifier, Shape, draw_uniform

SMALL = 16  # pixels; on images with a smaller side the second unpadded 5x5 convolution would leave nothing to see


@MODELS.register("lenet")
class LeNet(Classifier):
    """LeNet-5: two 5x5 convolutions with average pooling, then 120 and 84 units; `width` is conv1's channels (6).

    Source: LeCun, Bottou, Bengio, Haffner 1998, with 28x28 images padded to 32x32 and a plain linear head. The
    first convolution keeps the image's size (padding 2) and the second is unpadded; below 16 pixels the second is
    padded too, so an 8x8 image reaches the linear layers as 16 maps of 2x2. The other layers scale with `width`.
    """

    default_width = 6

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return conv-pool-conv-pool-120-84."""
        channels, height, breadth = shape
        padding = 2 if min(height, breadth) < SMALL else 0
        sides = [(side // 2 + 2 * padding - 4) // 2 for side in (height, breadth)]
        maps, wide, narrow = (units * width // 6 for units in (16, 120, 84))
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(channels, width, 5, padding=2),
            act1=activation(),
            pool1=nn.AvgPool2d(2),
            conv2=nn.Conv2d(width, maps, 5, padding=padding),
            act2=activation(),
            pool2=nn.AvgPool2d(2),
            flat=nn.Flatten(),
            fc1=nn.Linear(maps * sides[0] * sides[1], wide),
            act3=activation(),
            fc2=nn.Linear(wide, narrow),
            act4=activation(),
        )
        return nn.Sequential(layers)


@MODELS.register("lenet-zhu")
class LeNetZhu(Classifier):
    """The LeNet of Deep Leakage from Gradients: three 5x5 convolutions of `width` (12) channels, sigmoid, one head.

    Source: Zhu, Liu, Han, NeurIPS 2019 (mit-han-lab/dlg). Strides 2, 2, 1, padding 2, every weight and bias
    ~ U(-0.5, 0.5); 15,826 parameters at 3x32x32 with 10 classes. Smooth, so that second derivatives exist.
    """

    default_activation = "sigmoid"
    default_width = 12

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return the three convolutions, flattened."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = shape[0]
        for number, stride in enumerate((2, 2, 1), start=1):
            layers[f"conv{number}"] = nn.Conv2d(channels, width, 5, stride, padding=2)
            layers[f"act{number}"] = activation()
            channels = width
        return nn.Sequential(layers | {"flat": nn.Flatten()})

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator) -> None:
        """Draw every weight and bias from U(-0.5, 0.5)."""
        for parameter in self.parameters():
            draw_uniform(parameter, 0.5, rng)
