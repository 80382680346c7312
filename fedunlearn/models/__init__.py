"""Classifiers by name, from 1x8x8 to 3x224x224, and their weights as numpy arrays."""

from fedunlearn.models import convnet, diffusion, lenet, linear, resnet  # noqa: F401  (they file themselves in MODELS)
from fedunlearn.models.base import MODELS, Classifier, PixelStats, build
from fedunlearn.models.settings import Architecture, ModelSettings
from fedunlearn.models.weights import load_weights, parameter_names, to_weights

__all__ = [
    "MODELS",
    "Architecture",
    "Classifier",
    "ModelSettings",
    "PixelStats",
    "build",
    "load_weights",
    "parameter_names",
    "to_weights",
]
