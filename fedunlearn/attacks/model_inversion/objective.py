"""By how much a picture misses its class, for the attacked model and its students together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedunlearn.attacks.model_inversion.losses import LOSSES
from fedunlearn.attacks.model_inversion.settings import ObjectiveSettings
from fedunlearn.attacks.model_inversion.students import taught
from fedunlearn.attacks.model_inversion.target import Target, public_images
from fedunlearn.federation import Weights
from fedunlearn.observer.knowledge import Knowledge

MOST = 5000  # public images that features are taken from


class Objective:
    """The loss that the settings name, its mean over model and students.

    With the loss "logit", the model's features are held near a draw from N(mean, variance) of those of public images:
    one draw per picture, as a class is a place in that space and not a point.

    Attributes:
        target: the attacked model with its students.
        latest: the model's logits (n, K) for the images it was asked about last.
    """

    def __init__(self, settings: ObjectiveSettings, weights: Weights, knowledge: Knowledge) -> None:
        model = knowledge.model(weights)
        self.target = Target(model, taught(model, settings, knowledge) if settings.students else ())
        self._loss, self._weight = LOSSES[settings.loss], settings.identity_weight
        self._feature_weight = settings.feature_weight if settings.loss == "logit" else 0.0
        self._moments: tuple[Tensor, Tensor] | None = None
        if self._feature_weight:
            self._moments = feature_moments(self.target, public_images(knowledge)[:MOST])

        self.latest = torch.empty(0)

    def anchors(self, count: int, rng: np.random.Generator) -> Tensor | None:
        """Return the features (count, d) that pictures are held near; None where the loss asks for none."""
        if self._moments is None:
            return None
        mean, deviation = self._moments
        noise = rng.standard_normal((count, len(mean)), dtype=np.float32)
        return mean + deviation * torch.from_numpy(noise).to(mean.device)

    def __call__(self, images: Tensor, labels: Tensor, anchors: Tensor | None) -> Tensor:
        """Return the weighted loss (n,) of images for their classes."""
        answers = self.target.ask_all(images)
        self.latest = answers[0].logits
        loss = torch.stack([self._loss(each.logits, labels) for each in answers]).mean(dim=0)
        if anchors is not None:
            loss = loss + self._feature_weight * (answers[0].features - anchors).square().mean(dim=1)
        return self._weight * loss


@torch.no_grad()
def feature_moments(target: Target, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation (d,) of the features of images (n, C, H, W)."""
    batches = torch.from_numpy(images).to(target.device).split(512)
    features = torch.cat([target.ask(batch).features for batch in batches])
    return features.mean(dim=0), features.std(dim=0, correction=0)
