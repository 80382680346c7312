"""LPIPS v0.1 with AlexNet (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018), from a file of weights.

Layout of the file (safetensors): `convN.weight`, `convN.bias` for N = 0..4, AlexNet's convolutions as trained on
ImageNet, and `linN.weight`, the weights of N's channels, (channels,) or (1, channels, 1, 1). Differences from the
authors' code: images with a side below 32 pixels, which AlexNet's pools would use up, are enlarged first, bilinearly,
until their shorter side has 64; grey images are repeated to three channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d

from fedunlearn.errors import DataError
from fedunlearn.judging.metric import METRICS

STEPS = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))  # stride and padding of each convolution
POOLED = (1, 2)  # the convolutions that a 3x3 max-pool of stride 2 stands before
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the colours, after mapping them to -1..1
SMALLEST, ENLARGED = 32, 64  # pixels
CHUNK = 32  # pairs at once

Perceptual = Callable[[np.ndarray, np.ndarray], np.ndarray]  # two image batches -> distance of each pair


@METRICS.register("lpips")
def lpips(truth: np.ndarray, images: np.ndarray, weights: Mapping[str, Tensor]) -> np.ndarray:
    """Perceptual distance (LPIPS v0.1, AlexNet), 0 for the same picture; below 32 pixels enlarged to 64 first.

    Args:
        truth, images: pairs (n, C, H, W) in [0, 1], one or three channels.
        weights: as `load_weights` returns them.

    Returns:
        (n,), of each pair.
    """
    starts = range(0, len(truth), CHUNK)
    pairs = ([np.ascontiguousarray(side[start : start + CHUNK]) for side in (truth, images)] for start in starts)
    with torch.inference_mode():
        parts = [distance(torch.from_numpy(left), torch.from_numpy(right), weights) for left, right in pairs]
    return torch.cat(parts).double().numpy()


def distance(a: Tensor, b: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return the distance of each pair of images (n, C, H, W) in [0, 1]: over the layers, the sum of the channels'
    weighted squared differences of unit-length features, averaged over the places.
    """
    total = torch.zeros(len(a))
    layers = zip(features(prepared(a), weights), features(prepared(b), weights), strict=True)
    for number, (left, right) in enumerate(layers):
        squared = (_unit(left) - _unit(right)) ** 2
        total += (squared * weights[f"lin{number}.weight"].reshape(1, -1, 1, 1)).sum(1).mean((1, 2))
    return total


def prepared(images: Tensor) -> Tensor:
    """Return images (n, 1 or 3, H, W) in [0, 1] as AlexNet wants them: in colour, large enough, shifted, scaled."""
    pixels = images.float()
    short = min(pixels.shape[2:])
    if short < SMALLEST:
        size = [round(side * ENLARGED / short) for side in pixels.shape[2:]]
        pixels = interpolate(pixels, size, mode="bilinear", align_corners=False)
    shift, scale = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (SHIFT, SCALE))
    return (2 * pixels.expand(-1, 3, -1, -1) - 1 - shift) / scale


def features(pixels: Tensor, weights: Mapping[str, Tensor]) -> list[Tensor]:
    """Return what AlexNet's five convolutions say after their ReLU, each (n, channels, height, width)."""
    found = []
    for number, (stride, padding) in enumerate(STEPS):
        if number in POOLED:
            pixels = max_pool2d(pixels, 3, 2)
        kernel, bias = weights[f"conv{number}.weight"], weights[f"conv{number}.bias"]
        pixels = conv2d(pixels, kernel, bias, stride, padding).relu()
        found.append(pixels)
    return found


def perceptual(path: Path) -> Perceptual:
    """Return the distance that the weights in a file give.

    Raises:
        DataError: when the file is missing or holds something else.
    """
    weights = load_weights(path)
    return lambda truth, images: lpips(truth, images, weights)


@lru_cache(maxsize=2)
def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file.

    Raises:
        DataError: when the file is missing or holds something else.
    """
    names = {f"{layer}{number}" for number in range(5) for layer in ("conv", "lin")}
    wanted = {f"{name}.weight" for name in names} | {f"{name}.bias" for name in names if name.startswith("conv")}
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: no readable LPIPS weights ({error})") from None
    if missing := sorted(wanted - set(weights)):
        raise DataError(f"{path}: not the weights of LPIPS with AlexNet, {missing[0]} is missing")
    return {name: weights[name].float() for name in wanted}


def _unit(features: Tensor) -> Tensor:
    """Return features (n, channels, H, W) with length 1 over the channels at every place."""
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)
