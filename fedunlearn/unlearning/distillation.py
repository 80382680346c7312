"""What the methods share in which a student imitates a teacher, or avoids one."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from fedunlearn.federation import Weights
from fedunlearn.learning import LocalClient
from fedunlearn.models import Classifier, load_weights
from fedunlearn.storage import part
from fedunlearn.unlearning.phases import LocalSettings

ORIGINAL = "original/"


def original(before: Weights, settings: LocalSettings) -> Weights:
    """Return the attachments that tell clients the model before unlearning.

    With a single unlearning round there are none: that round broadcasts it anyway.
    """
    return {} if settings.rounds == 1 else {f"{ORIGINAL}{name}": array for name, array in before.items()}


def original_teacher(client: LocalClient) -> Classifier:
    """Return the model before unlearning, as a teacher."""
    return teacher(client, part(client.attachments, ORIGINAL) or client.weights)


def teacher(client: LocalClient, weights: Weights) -> Classifier:
    """Return a model of the client's architecture that holds `weights`: evaluation mode, no gradients."""
    model = copy.deepcopy(client.model).eval().requires_grad_(False)
    load_weights(model, weights)
    return model


def divergence(student: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """Return T^2 * mean over samples of KL(softmax(target / T) || softmax(student / T)), in nats.

    Equal logits give exactly 0 and a gradient of exactly 0. With `torch.nn.functional.kl_div` that gradient is
    rounding noise, which Adam, dividing it by its own size, turns into steps of full length.

    Args:
        student: logits (n, K); gradients flow through these alone.
        target: logits (n, K).
        temperature: T > 0; its square keeps the size of the gradient comparable between temperatures.
    """
    moved, fixed = student / temperature, target.detach() / temperature
    moved_norm, fixed_norm = torch.logsumexp(moved, 1), torch.logsumexp(fixed, 1)
    wanted = torch.exp(fixed - fixed_norm[:, None])
    each = (wanted * (fixed - moved)).sum(1) + moved_norm - fixed_norm
    return temperature**2 * each.mean()
