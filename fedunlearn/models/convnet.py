"""A plain convolutional net, the usual one of federated learning on CIFAR."""

from collections import OrderedDict

from torch import nn

from fedunlearn.models.base import MODELS, Classifier, Shape

LARGEST_MAP = 4  # pixels; a larger map is averaged down to this side, so that 224x224 needs no giant linear layer


@MODELS.register("convnet")
class ConvNet(Classifier):
    """Four 3x3 convolutions (`width` 32, 32, 64, 64 channels) with two average poolings, then 256 units.

    Without normalisation layers, so that FedSGD's mean gradient is exactly that of the joint batch. The last map
    is averaged to at most 4x4.
    """

    default_width = 32

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return conv-conv-pool twice, then one hidden linear layer."""
        channels, *sides = shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, outputs in enumerate((width, width, 2 * width, 2 * width), start=1):
            layers[f"conv{number}"] = nn.Conv2d(channels, outputs, 3, padding=1)
            layers[f"act{number}"] = activation()
            if number % 2 == 0:
                layers[f"pool{number // 2}"] = nn.AvgPool2d(2)
            channels = outputs
        height, breadth = (min(side // 4, LARGEST_MAP) for side in sides)
        layers["pool3"] = nn.AdaptiveAvgPool2d((height, breadth))
        layers["flat"] = nn.Flatten()
        layers["fc1"] = nn.Linear(channels * height * breadth, 8 * width)
        layers["act5"] = activation()
        return nn.Sequential(layers)
