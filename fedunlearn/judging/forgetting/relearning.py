"""How quickly a model learns the forgotten data again: what is only hidden comes back in a few steps.

Source: Chundawat, Tarun, Mandal and Kankanhalli, "Zero-Shot Machine Unlearning", IEEE TIFS 2023 (arXiv 2201.05629,
section V): the Anamnesis Index divides the steps of the unlearned model by those of a retrained one, either trained
until its accuracy on the forgotten data is within a tolerance of the original model's.
"""

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fedunlearn.judging.metric import NAN
from fedunlearn.learning import evaluate
from fedunlearn.models import Classifier

TOLERANCE = 0.05  # of the original accuracy that may be missing
EPOCHS = 10  # after which relearning is given up
BATCH = 32
LEARNING_RATE = 1e-3


def relearn_steps(
    model: Classifier, images: np.ndarray, labels: np.ndarray, original: float, rng: np.random.Generator
) -> float:
    """Return the steps of Adam until the accuracy is back, 0 if it never left; the most there are if it stays away.

    Args:
        model: the model; a copy of it is trained.
        images: the forgotten samples, float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,).
        original: accuracy of the model before unlearning on these samples.
        rng: the order of the batches; equal generators give models equal batches.

    Returns:
        A whole number up to 10 epochs of steps; NaN without samples, or where the original knew none of them.
    """
    if not len(labels) or not original:
        return NAN
    goal, learner = (1 - TOLERANCE) * original, copy.deepcopy(model).train()
    device = next(learner.parameters()).device
    pictures, truth = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
    optimiser = torch.optim.Adam(learner.parameters(), LEARNING_RATE)
    steps = 0
    for batch in _batches(len(labels), rng):
        if evaluate(learner, pictures, truth).accuracy >= goal:
            return float(steps)
        _step(learner, optimiser, pictures[batch], truth[batch])
        steps += 1
    return float(steps)


def _batches(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        yield from (order[start : start + BATCH] for start in range(0, count, BATCH))


def _step(learner: Classifier, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    optimiser.zero_grad()
    learner.loss(images, labels).backward()
    optimiser.step()


def anamnesis_index(own: float, retrained: float) -> float:
    """Return the steps of the unlearned model over those of the retrained one.

    1 is ideal, also where neither needs any; far below 1 the model still knows, far above it resists in a way that
    gives the forgetting away. NaN where the retrained model alone needs no step, or a number is unknown.
    """
    if math.isnan(own) or math.isnan(retrained):
        return NAN
    if own == retrained:
        return 1.0
    return own / retrained if retrained else NAN
