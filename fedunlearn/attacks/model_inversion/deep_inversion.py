"""Pictures of classes by gradient descent on the pixels, with the moments that batch normalisation remembers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.model_inversion.finding import chosen, rows_of
from fedunlearn.attacks.model_inversion.pixel_search import PixelSettings, descend, starts
from fedunlearn.attacks.model_inversion.target import Target, wanted_classes
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import ClassImages
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


class DeepInversionSettings(PixelSettings):
    """Settings of `deep-inversion`."""

    tv: float = Field(default=3.0, ge=0, description="Weight of the total variation.")
    l2: float = Field(default=0.3, ge=0, description="Weight of the mean square of the pixels.")
    batch_norm: float = Field(default=10.0, ge=0, description="Weight of the distance from the remembered moments.")


class Moments:
    """By how much a batch's moments differ from those that the batch normalisation layers of a model remember.

    Attributes:
        layers: the layers that remember some.
    """

    def __init__(self, model: nn.Module) -> None:
        kinds = (nn.BatchNorm2d, nn.BatchNorm1d)
        found = [layer for layer in model.modules() if isinstance(layer, kinds)]
        self.layers = [layer for layer in found if layer.running_mean is not None]
        self._distances: list[Tensor] = []
        for layer in self.layers:
            layer.register_forward_pre_hook(self._compare)

    def _compare(self, layer: Any, inputs: tuple[Tensor, ...]) -> None:
        maps = inputs[0].transpose(0, 1).flatten(1)
        mean = torch.linalg.vector_norm(maps.mean(dim=1) - layer.running_mean)
        variance = torch.linalg.vector_norm(maps.var(dim=1, correction=0) - layer.running_var)
        self._distances.append(mean + variance)

    def clear(self) -> None:
        """Forget what was compared, before the next batch."""
        self._distances.clear()

    def distance(self) -> Tensor | float:
        """Return the sum, over the layers, of |mean - remembered| + |variance - remembered| since `clear`."""
        return torch.stack(self._distances).sum() if self._distances else 0.0


@ATTACKS.register("deep-inversion")
class DeepInversion(Attack):
    """Pictures of classes by gradient descent on the pixels, with the moments that batch normalisation remembers.

    Knowledge: the final model's weights; of a model with batch normalisation, its running moments are among them.
    Formula: x = argmin of CE(f(x), y) + tv * TV(x) + l2 * mean x^2 + a * sum over layers of (|mean - m| + |variance -
    v|), pixels in [0, 1], every step on pictures moved by up to two pixels; m, v are what a layer remembers, mean and
    variance those of the whole batch: all classes, pictures and restarts. A model without such layers is attacked
    without the last term; the note `batch-norm-layers` is 0 then.
    Decision: of the restarts of a picture, the one that the model is surest of under shifts of two pixels.

    Source: Yin, Molchanov, Alvarez, Li, Mallya, Hoiem, Jha, Kautz, Dreaming to Distill, CVPR 2020 (arXiv 1912.08795).
    Deviations: TV and the squared pixels are means over an image, so that their weights serve every size; 200 steps
    (2000 there); no flips; no second model that competes (the adaptive variant).
    """

    Settings: ClassVar[type[DeepInversionSettings]] = DeepInversionSettings
    needs: ClassVar[Access] = "final-weights"
    finds: ClassVar[Finds] = "class-images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ClassImages:
        """Descend from several starts for every picture."""
        settings: DeepInversionSettings = self.settings
        classes = wanted_classes(settings.classes, knowledge.num_classes)
        target = Target(knowledge.model(view.final()))
        moments = Moments(target.model)
        rows = rows_of(classes, settings.images_per_class, settings.restarts)
        labels = torch.from_numpy(rows).to(target.device)

        def missed(images: Tensor) -> Tensor:
            moments.clear()
            wrong = F.cross_entropy(target.ask(images).logits, labels, reduction="sum")
            return wrong + settings.batch_norm * moments.distance()

        first = starts(len(rows), knowledge.image_shape, rng).to(target.device)
        images = descend(first, missed, settings, rng, jitter=True)
        return chosen(target, images, labels, settings.restarts, {"batch-norm-layers": len(moments.layers)})
