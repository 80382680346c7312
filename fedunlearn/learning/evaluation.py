"""How good a model is on given images."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.learning.client import Samples
from fedunlearn.models import Classifier


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to n images.

    Attributes:
        accuracy: share of right predictions in [0, 1]; NaN for no images.
        loss: mean cross-entropy (natural logarithm); NaN for no images.
        predictions: int64 (n,), the most probable class.
        probabilities: float32 (n, num_classes), rows sum to 1.
        logits: float32 (n, num_classes), what the probabilities are the softmax of.
    """

    accuracy: float
    loss: float
    predictions: np.ndarray
    probabilities: np.ndarray
    logits: np.ndarray


def evaluate(
    model: Classifier, images: np.ndarray | Tensor, labels: np.ndarray | Tensor, batch: int = 512
) -> Evaluation:
    """Evaluate `model` in evaluation mode; its own mode is put back afterwards.

    Args:
        model: the classifier.
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,).
        batch: images per forward pass; bounds memory.
    """
    device = next(model.parameters()).device
    return _evaluate(model, (part.to(device) for part in _tensor(images).split(batch)), _tensor(labels).cpu())


def evaluate_samples(model: Classifier, samples: Samples, ids: np.ndarray, device: str, batch: int = 512) -> Evaluation:
    """Evaluate `model` like `evaluate`, bit for bit, with no more than `batch` images in memory at a time.

    Args:
        model: the classifier.
        samples: the data set.
        ids: the sample ids, (n,).
        device: where the model is.
        batch: images per forward pass.
    """
    starts = range(0, max(len(ids), 1), batch)  # no ids are one empty batch, so that there are logits of no images
    images = (torch.from_numpy(samples.images(ids[start : start + batch])).to(device) for start in starts)
    return _evaluate(model, images, torch.from_numpy(samples.labels(ids)))


def _evaluate(model: Classifier, batches: Iterable[Tensor], labels: Tensor) -> Evaluation:
    """Evaluate on batches of images where the model is, and all their labels on the CPU."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = torch.cat([model(images).cpu() for images in batches])
    finally:
        model.train(was_training)
    predictions = logits.argmax(1)
    return Evaluation(
        float((predictions == labels).double().mean()),
        float(F.cross_entropy(logits.double(), labels)),
        predictions.numpy(),
        logits.softmax(1).numpy(),
        logits.numpy(),
    )


def _tensor(values: np.ndarray | Tensor) -> Tensor:
    # torch warns about arrays that cannot be written to, so those are copied
    return values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, requirements="W"))
