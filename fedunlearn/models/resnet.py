"""ResNet-18 with batch or group normalisation, for every image size."""

from collections import OrderedDict
from math import gcd

from torch import Tensor, nn

from fedunlearn.models.base import MODELS, Classifier, Shape

GROUPS = 32
LARGE = 64  # pixels; from here on the stem of ImageNet (7x7, stride 2, max-pooling), below that of CIFAR (3x3)
SMALLEST_MAP = 4  # pixels; a stage does not halve a map that is this small


def normalisation(kind: str, channels: int) -> nn.Module:
    """Return batch normalisation, or group normalisation in 32 groups (the largest divisor the channels share)."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(gcd(GROUPS, channels), channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: type[nn.Module], norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = normalisation(norm, outputs)
        self.act1 = activation()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = normalisation(norm, outputs)
        self.act2 = activation()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, norm=normalisation(norm, outputs)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output maps for input maps (n, inputs, H, W)."""
        residual = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        return self.act2(residual + self.shortcut(x))


@MODELS.register("resnet18")
class ResNet18(Classifier):
    """ResNet-18 (He et al. 2016): four stages of two blocks, `width` (64) channels doubled at each stage.

    Images below 64 pixels get the CIFAR stem. A stage halves its map only while that leaves 4 pixels or more, so
    batch normalisation never meets a 1x1 map, where a batch of one sample has no variance. Group normalisation has
    32 groups (Wu and He 2018). All convolutions start from PyTorch's default distribution.
    """

    default_width = 64

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return stem, four stages, mean over the map."""
        channels, height, breadth = shape
        side = min(height, breadth)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        large = side >= LARGE
        layers["conv1"] = nn.Conv2d(
            channels, width, 7 if large else 3, 2 if large else 1, 3 if large else 1, bias=False
        )
        layers["norm1"] = normalisation(norm, width)
        layers["act1"] = activation()
        if large:
            layers["pool1"] = nn.MaxPool2d(3, 2, padding=1)
            side //= 4
        inputs = width
        for stage in range(1, 5):
            outputs = width * 2 ** (stage - 1)
            stride = 2 if stage > 1 and side >= 2 * SMALLEST_MAP else 1
            side //= stride
            first = BasicBlock(inputs, outputs, stride, activation, norm)
            layers[f"stage{stage}"] = nn.Sequential(first, BasicBlock(outputs, outputs, 1, activation, norm))
            inputs = outputs
        layers["pool2"] = nn.AdaptiveAvgPool2d(1)
        layers["flat"] = nn.Flatten()
        return nn.Sequential(layers)
