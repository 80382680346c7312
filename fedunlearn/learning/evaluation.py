"""How good a model is on given images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.models import Classifier


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to n images.

    Attributes:
        accuracy: share of right predictions in [0, 1]; NaN for no images.
        loss: mean cross-entropy (natural logarithm); NaN for no images.
        predictions: int64 (n,), the most probable class.
        probabilities: float32 (n, num_classes), rows sum to 1.
    """

    accuracy: float
    loss: float
    predictions: np.ndarray
    probabilities: np.ndarray


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
    images, labels = _tensor(images), _tensor(labels)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = torch.cat([model(part.to(device)).cpu() for part in images.split(batch)])
    finally:
        model.train(was_training)
    labels = labels.cpu()
    predictions = logits.argmax(1)
    return Evaluation(
        float((predictions == labels).double().mean()),
        float(F.cross_entropy(logits.double(), labels)),
        predictions.numpy(),
        logits.softmax(1).numpy(),
    )


def _tensor(values: np.ndarray | Tensor) -> Tensor:
    # torch warns about arrays that cannot be written to, so those are copied
    return values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, requirements="W"))
