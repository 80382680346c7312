"""Boundary shrink: every forgotten image is learnt as the class that lies nearest to it, so its own class closes up.

Source: M. Chen, Gao, G. Liu, Peng and Wang, "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting the
Decision Boundary", CVPR 2023 (arXiv 2303.11570). With the model theta_o as it was when the request came,
`y_nb = argmax f_o(clip(x + epsilon * sign(grad_x CE(f_o(x), y))))`; then cross-entropy with y_nb on the forgotten data.

Scopes: class. Who takes part: the holders of the class, on its data alone; then all that retain data. Needs from the
server: nothing; with more than one unlearning round theta_o travels beside the model.

Deviations: an image that one step of the attack leaves in its class is pushed further, up to `attack_steps` times, and
one that stays is not trained on: with y_nb = y the class would be reinforced. The step is taken in pixels in [0, 1],
before normalisation. The curvature term and the weighting of samples are left out. The holders' models are averaged by
the size of their forgotten data. Batch-norm statistics are frozen. Where several classes are forgotten, the nearest may
be another of them. Defaults suit small federations; the source's: learning rate 1e-5, 10 epochs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.federation import Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.models import Classifier, load_weights
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.local import answer, evaluation_mode, one_pass, optimiser, read, step
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, method_task


class BoundaryShrinkSettings(LocalSettings):
    """Hyper-parameters of boundary shrink."""

    epochs: int = Field(default=5, ge=1, description="Passes over the forgotten data per unlearning round.")
    learning_rate: float = Field(default=0.005, gt=0, description="Of the local steps.")
    epsilon: float = Field(default=0.1, gt=0, le=1, description="Length of a step of the attack, in pixels in [0, 1].")
    attack_steps: int = Field(default=10, ge=1, description="Most steps of the attack on an image; the source: 1.")


@UNLEARNERS.register("boundary-shrink")
class BoundaryShrink(HoldersUnlearner):
    """Learn every forgotten image as the class nearest to it."""

    Settings = BoundaryShrinkSettings
    scopes = frozenset({"class"})
    limits = "it closes the region of a whole class, which data that only lose some of their class still need"
    view = "forget"

    def task(self, before: Weights, history: History) -> Task:
        """Return the relabelling; in a single round the model before is the broadcast."""
        original = before if self.settings.rounds > 1 else {}
        return method_task("boundary-shrink", self.settings, history.training, attachments=original)


@CLIENT_TASKS.register("boundary-shrink")
def boundary_shrink(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Training towards the nearest classes; sends the weights and the share of images for which one was found."""
    local, model = read(BoundaryShrinkSettings, settings), client.model
    load_weights(model, client.attachments or client.weights)
    with evaluation_mode(model):
        nearest = nearest_classes(model, client.images, client.labels, local.epsilon, local.attack_steps)
    load_weights(model, client.weights)
    crossed = np.flatnonzero((nearest != client.labels).numpy(force=True))
    draws, moved = client.rng("unlearning"), optimiser(model, local)
    with evaluation_mode(model):
        for _ in range(local.epochs):
            for batch in one_pass(draws, crossed, local.batch_size):
                step(moved, model.loss(client.images[batch], nearest[batch]))
    return answer(client, success=len(crossed) / len(nearest))


def nearest_classes(model: Classifier, images: Tensor, labels: Tensor, epsilon: float, steps: int) -> Tensor:
    """Return the class (n,) in which each image ends when it is pushed out of its own, or its label where it stays.

    Every image takes one step, and further ones only while it is in its class.
    """
    images, found = images.clone(), labels.clone()
    for _ in range(steps):
        staying = found == labels
        if not staying.any():
            break
        pushed = images[staying].requires_grad_()
        # The sum, not the mean: dividing by n could round a tiny gradient to zero, and then it has no sign.
        loss = F.cross_entropy(model(pushed), labels[staying], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pushed)
        images[staying] = (pushed.detach() + epsilon * gradient.sign()).clamp(0, 1)
        with torch.no_grad():
            found[staying] = model(images[staying]).argmax(1)
    return found
