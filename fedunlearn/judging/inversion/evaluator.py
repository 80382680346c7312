"""The judge's own classifier: says what a claimed picture shows, and in whose features pictures are compared.

It is trained on the data set's judge samples, which no client and no attacker has, so it knows nothing of the model
that was attacked. Pictures that merely fool that model, it does not take for the class.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedunlearn.errors import DataError
from fedunlearn.federation import Weights
from fedunlearn.models import Classifier, load_weights, to_weights
from fedunlearn.models.base import Shape
from fedunlearn.observer.cache import ContentCache, digest
from fedunlearn.randomness import rng as stream

NET = "judge-cnn"  # names the features in metrics and reports
FEATURES = 32  # few, so that covariances of some dozens of pictures can be estimated
STEPS, BATCH, LEARNING_RATE = 600, 32, 3e-3  # of Adam, its rate falling to 0 along a half cosine
SHIFT = 14  # a picture is shifted by up to its side divided by this, at least a pixel
ASKED = 512  # pictures at a time


class JudgeCNN(Classifier):
    """Three 3x3 convolutions (16, 32, 64 channels) with group normalisation and pooling, then 32 linear features."""

    default_width: ClassVar[int | None] = 16

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return convolution, normalisation, activation, pooling three times, then the features."""
        channels, *sides = shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, stride in enumerate((2, 2, 1), start=1):
            outputs = width * 2 ** (number - 1)
            layers[f"conv{number}"] = nn.Conv2d(
                channels, outputs, 5 if number == 1 else 3, stride, 2 if number == 1 else 1
            )
            layers[f"norm{number}"] = nn.GroupNorm(4, outputs)
            layers[f"act{number}"] = activation()
            channels = outputs
        last = [min(side // 4, 4) for side in sides]
        layers["pool"] = nn.AdaptiveAvgPool2d((last[0], last[1]))
        layers["flat"] = nn.Flatten()
        layers["features"] = nn.Linear(channels * last[0] * last[1], FEATURES)
        layers["length"] = nn.RMSNorm(FEATURES, elementwise_affine=False)
        return nn.Sequential(layers)


@dataclass(frozen=True)
class Evaluator:
    """A trained classifier of the judge's.

    Attributes:
        model: in evaluation mode.
        sample_ids: what it was trained on.
    """

    model: Classifier
    sample_ids: np.ndarray

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return logits (n, num_classes), float64, of images (n, C, H, W) in [0, 1]."""
        return self._apply(self.model.head, self.features(images))

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return what the head is given, (n, 32), float64."""
        return self._apply(self.model.features, images)

    @torch.no_grad()
    def _apply(self, part: Any, inputs: np.ndarray) -> np.ndarray:
        device = self.model.head.weight.device
        batches = torch.from_numpy(np.asarray(inputs, np.float32)).to(device).split(ASKED)
        return np.concatenate([part(batch).numpy(force=True) for batch in batches]).astype(np.float64)


def train_evaluator(
    images: np.ndarray,
    labels: np.ndarray,
    sample_ids: np.ndarray,
    num_classes: int,
    cache: ContentCache,
    device: str = "cpu",
) -> Evaluator:
    """Return the classifier that the judge trains on its own samples; kept by content.

    What training draws follows from the samples, so that runs which share them share the classifier.

    Args:
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,).
        sample_ids: (n,).
        num_classes: of the data set.
        cache: where it is kept.
        device: where to compute.

    Raises:
        DataError: when a class has no sample.
    """
    if len(absent := np.setdiff1d(np.arange(num_classes), labels)):
        why = f"none of the judge's {len(labels)} samples is of class {absent[0]}; give data.judge more of them"
        raise DataError(f"the judge's classifier cannot be trained: {why}")
    content = {
        "net": NET,
        "training": [FEATURES, STEPS, BATCH, LEARNING_RATE, SHIFT, num_classes],
        "images": images,
        "labels": labels,
    }
    model = _blank(images, num_classes).to(device)
    draws = stream(int(digest(content)[:8], 16), "judge")
    load_weights(model, cache.get("evaluator", content, lambda: _train(model, images, labels, draws)))
    return Evaluator(model.eval(), sample_ids)


def refuse_target(evaluator: Evaluator, targets: Mapping[str, Weights]) -> None:
    """Refuse a classifier that is one of the models under attack: it would judge itself.

    Raises:
        DataError: naming the model.
    """
    own = to_weights(evaluator.model)
    for name, weights in targets.items():
        if weights.keys() == own.keys() and all(np.array_equal(array, own[key]) for key, array in weights.items()):
            raise DataError(f"the judge's classifier is the {name} model itself; judge by an independent one")


def _blank(images: np.ndarray, num_classes: int) -> Classifier:
    channels, height, width = images.shape[1:]
    with torch.random.fork_rng(devices=[]):  # layers fill themselves from the global generator when constructed
        model = JudgeCNN((channels, height, width), num_classes, "relu", None, "group")
    model.set_pixel_stats(float(images.mean()), float(images.std()) or 1.0)
    return model


def _train(model: Classifier, images: np.ndarray, labels: np.ndarray, draws: np.random.Generator) -> Weights:
    """Return the weights after `STEPS` steps on batches drawn at random, every picture shifted a little."""
    model.initialise(draws)
    device = model.head.weight.device
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        chosen = draws.integers(len(images), size=min(BATCH, 2 * len(images)))
        batch = shifted(torch.from_numpy(images[chosen]), draws).to(device)
        optimiser.zero_grad()
        F.cross_entropy(model(batch), torch.from_numpy(labels[chosen]).to(device)).backward()
        optimiser.step()
        schedule.step()
    return to_weights(model)


def shifted(images: Tensor, draws: np.random.Generator) -> Tensor:
    """Return images (n, C, H, W), each moved by a few pixels at random; what comes in repeats the border."""
    height, width = images.shape[2:]
    most = max(1, min(height, width) // SHIFT)
    padded = F.pad(images, (most, most, most, most), mode="replicate")
    places = draws.integers(2 * most + 1, size=(len(images), 2)).tolist()
    return torch.stack([image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, places, strict=True)])
