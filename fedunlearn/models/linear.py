"""Models of nothing but linear layers."""

from torch import nn

from fedunlearn.models.base import MODELS, Classifier, Shape


@MODELS.register("logistic")
class Logistic(Classifier):
    """Logistic regression: one linear layer on the pixels.

    Its head sees the normalised pixels themselves, which may be negative; it has neither activation nor width.
    """

    linear_only = True
    default_width = None

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return the pixels in a row."""
        return nn.Flatten()


@MODELS.register("mlp")
class MLP(Classifier):
    """One hidden layer of `width` units (128)."""

    linear_only = True
    default_width = 128

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return pixels -> hidden units."""
        channels, height, breadth = shape
        hidden = nn.Sequential()
        hidden.add_module("flat", nn.Flatten())
        hidden.add_module("fc1", nn.Linear(channels * height * breadth, width))
        hidden.add_module("act1", activation())
        return hidden


@MODELS.register("deep-mlp")
class DeepMLP(Classifier):
    """Two hidden layers, of twice `width` and of `width` units (128).

    The smallest net with a layer that lies between hidden units: it sees no pixels and gives no logits.
    """

    linear_only = True
    default_width = 128

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return pixels -> 2 * width -> width hidden units."""
        channels, height, breadth = shape
        hidden = nn.Sequential()
        hidden.add_module("flat", nn.Flatten())
        hidden.add_module("fc1", nn.Linear(channels * height * breadth, 2 * width))
        hidden.add_module("act1", activation())
        hidden.add_module("fc2", nn.Linear(2 * width, width))
        hidden.add_module("act2", activation())
        return hidden
